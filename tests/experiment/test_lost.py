"""Of several processes one that is missing or lost: one line that names it, and all the rest is passed on."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiment import lost
from tests.experiment.command import start

STACK = b"""*** Check failure stack trace: ***
    @     0x7fe14c020634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
Fatal Python error: Aborted

Current thread 0x00007fe1540b7b80 (most recent call first):
  File "main.py", line 85 in main
"""
FATAL = (
    b"F1128 19:31:27.153719   20275 client.h:80] Terminating process because the JAX distributed service detected "
    b"fatal errors. This most likely indicates that another task died; see the other task logs for more details. "
    b"absl::Status: "
)
UNHEALTHY = (
    b"E1128 20:01:07.519001   23624 coordination_service.cc:1549] [14408058227039498612] Use error polling to "
    b"propagate the following error to all tasks: UNAVAILABLE: The following tasks are unhealthy (stopped sending "
    b"heartbeats):\n"
    b"1\n3\nThe tasks have crashed. Check the task logs for an earlier error.\n"
)
CLOSED = (
    b"W1128 20:01:20.972003   23830 preemption_sync_manager.cc:147] Failed to retrieve preemption notice from "
    b"coordination service: UNAVAILABLE: Socket closed\n:UNKNOWN:Error received from peer\n"
    b"E1128 20:01:20.972174   23830 coordination_service_agent.cc:289] Polled an error from coordination service.\n"
)
MISSING = FATAL + b"DEADLINE_EXCEEDED: Deadline Exceeded\n\nRPC: /xla.coordination.CoordinationService/RegisterTask\n"


def _passed_on(*parts: bytes, processes: int = 4, process: int = 0) -> bytes:
    arguments = [sys.executable, "-I", lost.__file__, *map(str, (processes, process, 60, 300))]
    helper = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert helper.stdin
    for part in parts:
        os.write(helper.stdin.fileno(), part)
        time.sleep(0.05)
    return helper.communicate(timeout=60)[1]


@pytest.mark.parametrize(
    ("report", "process", "line"),
    [
        (UNHEALTHY + FATAL + b"UNAVAILABLE\n" + STACK, 0, b"processes 1, 3 were lost (60 s without a sign of life)"),
        (UNHEALTHY + FATAL + b"UNAVAILABLE\n" + STACK, 2, b"processes 1, 3 were lost (60 s without a sign of life)"),
        (CLOSED + FATAL + b"UNAVAILABLE: Socket closed\n" + STACK, 2, b"process 0 was lost"),
        (MISSING + STACK, 0, b"one of the processes 1 to 3 has not come within 300 s"),
        (MISSING + STACK, 1, b"process 0 has not come within 300 s"),
    ],
)
def test_the_report_of_an_abort_is_one_line(report: bytes, process: int, line: bytes) -> None:
    for parts in ((report,), tuple(report.splitlines(keepends=True))):
        said = _passed_on(b"a line\n 50%|#####  ", b"\r 51%|#####\n", *parts, process=process)
        before, _, after = said.partition(b"\r 51%|#####\n")
        assert before == b"a line\n 50%|#####  "
        assert after.startswith(b"error: " + line + b";") and after.count(b"\n") == 1, after


@pytest.mark.parametrize(
    "text", [b"WARNING: no report\nE5 is no report\nE1128 a line\n", b"without an end", UNHEALTHY, b"\xff\n" * 10_000]
)
def test_everything_else_is_passed_on(text: bytes) -> None:
    assert _passed_on(text) == text


def test_what_stands_still_is_passed_on_at_once() -> None:
    """Half a line, as a progress bar writes it, though it might become a report."""
    arguments = [sys.executable, "-I", lost.__file__, "2", "0", "60", "300"]
    helper = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert helper.stdin and helper.stderr
    for text in (b" 10%|#", b"E1128 "):
        os.write(helper.stdin.fileno(), text)
        assert os.read(helper.stderr.fileno(), 100) == text
    helper.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_ends_the_other_in_a_line(victim: int, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"--coordinator=127.0.0.1:{free.getsockname()[1]}"
    fields = {
        "model.width": 8,
        "model.depth": 1,
        "training.batch_size": 16,
        "training.eval_freq": 0,
        "training.log_freq": 1,
    }
    given = (
        "--mode=train",
        "--config=configs/vp/toy_mixture8_mlp.py",
        *(f"--config.{name}={value}" for name, value in fields.items()),
        f"--workdir={tmp_path}",
        address,
        "--processes=2",
    )
    processes = [start(*given, f"--process={i}") for i in (0, 1)]
    records = tmp_path / "metrics.jsonl"
    while not records.exists() or records.read_text().count("\n") < 3:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
    processes[victim].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, err = processes[1 - victim].communicate(timeout=300)
    assert time.monotonic() - began < 1.5 * lost.HEARTBEAT_SECONDS
    assert err.endswith("start all of them again, and the run goes on from what was saved\n")
    assert f"error: process {victim} was lost" in err and "Traceback" not in err and "@  " not in err
    processes[victim].communicate()
