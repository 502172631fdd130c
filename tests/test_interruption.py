"""Ctrl-C and SIGTERM: one line, within two seconds, wherever a command is; a training saves first."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.experiment.command import start

ROOT = Path(__file__).parents[1]
WITHIN = 2.0
BEGIN = "import interruption, sys, time\ninterruption.install()\n"
WHERE = {
    "waiting": "print('begun', flush=True); time.sleep(60)",
    "in C": "import hashlib; print('begun', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 1_000_000_000)",
    "where it is swallowed": """
print('begun', flush=True)
while True:
    try:
        time.sleep(0.05)
    except BaseException:
        pass
""",
    "in another thread's work": """
import threading
def fail():
    time.sleep(0.5)
    raise OSError('because it is being ended')
threading.Thread(target=fail).start()
print('begun', flush=True)
threading.Event().wait()
""",
}


def _begun(code: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", BEGIN + code], cwd=ROOT, **pipes)
    assert process.stdout and process.stdout.readline() == "begun\n"
    return process


def _ended(process: subprocess.Popen, number: signal.Signals) -> tuple[str, str]:
    """Standard output and error of a process that the signal ends in time, with the exit code of shells."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if "saved step" in err:
        pytest.skip("this machine is so fast that the training has begun by then, which finishes its step and saves")
    assert time.monotonic() - began < WITHIN
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], err
    return out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", WHERE.values(), ids=WHERE)
def test_one_line_wherever_the_command_is(code: str, number: signal.Signals) -> None:
    _, err = _ended(_begun(code), number)
    assert err == f"error: ended by {number.name}; what was saved before stays\n"


def test_the_command_cleans_up_where_it_can() -> None:
    out, _ = _ended(
        _begun("try:\n  print('begun', flush=True); time.sleep(60)\nfinally:\n  print('clean')"), signal.SIGINT
    )
    assert out == "clean\n"


SAVING = """
import interruption, time
asked = []
with interruption.deferred(asked.append):
    print('begun', flush=True)
    while not asked:
        time.sleep(0.01)
    print(f'saving {interruption.received == asked[0]}', flush=True)
    time.sleep(SECONDS)
print('saved', flush=True)
"""


def test_the_first_signal_is_kept_for_who_saves_first() -> None:
    process = _begun(SAVING.replace("SECONDS", "0.2"))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "saving True\nsaved\n", "")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_signals_at_once_are_one_wish(second: signal.Signals) -> None:
    process = _begun(SAVING.replace("SECONDS", "0.8"))
    process.send_signal(signal.SIGTERM)
    assert process.stdout and process.stdout.readline() == "saving True\n"
    time.sleep(0.1)
    process.send_signal(second)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "saved\n", "")


def test_a_second_signal_ends_who_takes_long_to_save() -> None:
    process = _begun(SAVING.replace("SECONDS", "60"))
    process.send_signal(signal.SIGINT)
    assert process.stderr and process.stdout and process.stdout.readline() == "saving True\n"
    assert process.stderr.readline() == "SIGINT: this step is finished and saved; once more ends at once\n"
    _, err = _ended(process, signal.SIGINT)
    assert err == "error: ended by SIGINT; what was saved before stays\n"


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_command_that_is_still_importing(mode: str, tmp_path: Path) -> None:
    process = start(f"--mode={mode}", "--config=configs/vp/digits.py", f"--workdir={tmp_path / 'run'}")
    time.sleep(0.7)
    _, err = _ended(process, signal.SIGINT)
    assert err == "error: ended by SIGINT; what was saved before stays\n"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, 6, 9, 12, 15, 20])
def test_a_command_that_reads_or_compiles(seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
    process = start("--mode=train", "--config=configs/vp/digits.py", f"--workdir={tmp_path / 'run'}")
    time.sleep(seconds)
    assert process.poll() is None
    _, err = _ended(process, signal.SIGINT)
    lines = [line for line in err.splitlines() if line]
    assert lines[-1].endswith("error: ended by SIGINT; what was saved before stays") and "Traceback" not in err
