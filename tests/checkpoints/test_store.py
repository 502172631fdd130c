import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkpoints import CheckpointDamaged, CheckpointMismatch, CheckpointNotSaved, Store

ROOT = Path(__file__).parents[2]


def tree(step: int) -> dict:
    rng = np.random.default_rng(step)
    return {
        "params": {f"conv{i}.kernel": rng.standard_normal((3, 4), dtype=np.float32) for i in range(20)},
        "ema": {"0": {"a/b": jnp.asarray(rng.standard_normal(5), jnp.bfloat16)}, "empty": {}},
        "key": np.array([step, 2**32 - 1], np.uint32),
        "transposed": rng.standard_normal((2, 3), dtype=np.float32).T,
        "count": np.int32(-step),
        "step": step,
    }


def assert_equal(expected: dict, restored: dict):
    assert expected.keys() == restored.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_equal(value, restored[name])
        else:
            value = np.asarray(value)
            assert isinstance(restored[name], np.ndarray)
            assert (restored[name].dtype, restored[name].shape) == (value.dtype, value.shape)
            assert restored[name].tobytes() == value.tobytes(), name


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run") as store:
        yield store


def test_round_trip_is_bit_exact(store):
    assert store.restore() is None
    store.save(7, tree(7), {"loss": 0.1, 2: "two", 10: [1, None]})
    step, restored, metadata = store.restore()
    assert step == store.latest_step() == 7
    assert metadata == {"loss": 0.1, "2": "two", "10": [1, None]}
    assert_equal(tree(7), restored)


def test_buffers_may_be_overwritten_once_save_returns(store):
    host, device = np.ones((1000, 1000), np.float32), jnp.ones((1000, 1000))
    store.save(1, {"host": host, "device": device})
    host[:] = 2
    jax.jit(lambda x: x + 1, donate_argnums=0)(device).block_until_ready()
    restored = store.restore()[1]
    assert np.all(restored["host"] == 1) and np.all(restored["device"] == 1)


def test_keeps_the_newest_and_the_periodic(tmp_path):
    with Store(tmp_path, keep=2, keep_period=10) as store:
        for step in (0, 5, 10, 15, 20, 25, 27):
            store.save(step, {"x": step})
    with Store(tmp_path, read_only=True) as store:
        assert store.steps() == [0, 10, 20, 25, 27]
        assert [int(store.restore(step=s)[1]["x"]) for s in store.steps()] == store.steps()


def test_read_only_creates_and_writes_nothing(tmp_path):
    with Store(tmp_path / "none", read_only=True) as store:
        assert store.restore() is None
        with pytest.raises(ValueError, match="read_only"):
            store.save(1, {"x": 1})
    assert not (tmp_path / "none").exists()


def test_read_only_sees_what_a_writer_adds(store):
    with Store(store.directory, read_only=True) as reader:
        store.save(1, {"x": 1})
        store.wait()
        assert reader.restore()[0] == 1


def test_saving_a_step_again(store):
    store.save(1, tree(1), {"a": 1})
    store.save(1, tree(1), {"a": 1})
    for other in [(tree(2), {"a": 1}), (tree(1), {"a": 2})]:
        with pytest.raises(FileExistsError, match="another checkpoint of step 1"):
            store.save(1, *other)
    store.save(1, tree(2), force=True)
    assert_equal(tree(2), store.restore()[1])


def test_another_architecture_is_named_and_is_not_damage(store):
    store.save(1, tree(1))
    store.save(2, tree(2))
    assert store.restore(jax.eval_shape(lambda: tree(0)) | {"step": 0})[0] == 2
    other = tree(0) | {"more": np.zeros(2)}
    other["params"]["conv1.kernel"] = jax.ShapeDtypeStruct((5, 4), jnp.float32)
    del other["params"]["conv2.kernel"]
    with pytest.raises(CheckpointMismatch) as error:
        store.restore(other)
    for part in (
        "3 leaves differ",
        "more: saved nothing, wanted float64[2]",
        "params.conv1.kernel: saved float32[3,4], wanted float32[5,4]",
        "params.conv2.kernel: saved float32[3,4], wanted nothing",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("leaf", [None, [1, 2], "text"])
def test_what_cannot_be_saved_is_named(store, leaf):
    with pytest.raises(TypeError, match=r"'a\.b'"):
        store.save(1, {"a": {"b": leaf}})


def test_ambiguous_names_are_refused(store):
    with pytest.raises(ValueError, match=r"'a\.b'"):
        store.save(1, {"a": {"b": 1}, "a.b": 2})


def flip(file: Path):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


DAMAGE = {
    "bit flip": flip,
    "truncation": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "missing": Path.unlink,
}


@pytest.mark.slow
# Orbax's reads in flight when one of them fails
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_damage_to_any_file_goes_unnoticed(tmp_path, damage):
    with Store(tmp_path / "whole") as store:
        store.save(1, tree(1), {"a": 1})
        store.save(2, tree(2), {"a": 2})
    files = sorted(f.relative_to(tmp_path / "whole") for f in (tmp_path / "whole" / "2").rglob("*") if f.is_file())
    fell_back = 0
    for i, file in enumerate(files):
        copy = shutil.copytree(tmp_path / "whole", tmp_path / str(i))
        damage(copy / file)
        with Store(copy) as store:  # a damaged file either does no harm, or the checkpoint before is used
            step, restored, metadata = store.restore()
            assert metadata == {"a": step}
            assert_equal(tree(step), restored)
            fell_back += step == 1
            if store.latest_step() == 2:
                store.save(2, tree(2), {"a": 2})  # a run that went back arrives at the same step again
            else:
                store.save(3, tree(3), {"a": 3})
            assert store.restore()[0] > 1
    assert fell_back >= 3, "arrays, their index and the manifest all matter"


def test_damage_is_reported(store, caplog):
    for step in (1, 2):
        store.save(step, tree(step))
    store.wait()
    for file in (Path(store.directory) / "2" / "state").rglob("*"):
        if file.is_file():
            flip(file)
    assert store.restore()[0] == 1
    assert f"{store.directory}/2 is damaged" in caplog.text
    assert "the checkpoint of step 1 is taken in its place" in caplog.text
    with pytest.raises(CheckpointDamaged, match=r"step 2 .* there are \[1, 2\]; take another step, or put back a"):
        store.restore(step=2)
    shutil.rmtree(Path(store.directory) / "1" / "state")
    with pytest.raises(
        CheckpointDamaged, match=r"every checkpoint .* there are \[1, 2\]; put back a copy of one, or move"
    ):
        store.restore()


def test_a_wrong_array_is_noticed_even_if_every_file_is_sound(tmp_path):
    for run, value in (("a", 1.0), ("b", 2.0)):
        with Store(tmp_path / run) as store:
            store.save(1, {"x": np.full(3, value)})
    shutil.rmtree(tmp_path / "a/1/state")
    shutil.copytree(tmp_path / "b/1/state", tmp_path / "a/1/state")
    with Store(tmp_path / "a") as store, pytest.raises(CheckpointDamaged):
        store.restore()


def test_a_damaged_manifest_is_not_taken_for_another_model(store):
    for step in (1, 2):
        store.save(step, tree(step))
    store.wait()
    manifest = Path(store.directory) / "2" / "manifest" / "metadata"
    manifest.write_text(manifest.read_text().replace("float32[3,4]", "float32[3,5]"))
    assert store.restore(tree(0))[0] == 1


def test_a_missing_step_lists_those_there(store):
    store.save(3, tree(3))
    with pytest.raises(FileNotFoundError, match=r"step 5 .* there are \[3\]"):
        store.restore(step=5)


@pytest.mark.parametrize("report", ["wait", "save", "restore", "close"])
def test_a_save_that_fails_in_the_background_is_not_lost(tmp_path, report, monkeypatch):
    """And the next one is not blamed for what the failed one writes late, when its folder is not there any more."""
    from orbax.checkpoint._src.metadata.checkpoint import _MetadataStoreImpl
    from orbax.checkpoint._src.path.atomicity import AtomicRenameTemporaryPath

    async def fail(*_, **__):
        raise OSError("disk full")

    update = _MetadataStoreImpl.update

    def late(self, *arguments, **facts):
        time.sleep(0.05)
        update(self, *arguments, **facts)

    store = Store(tmp_path)
    store.save(1, {"x": 1})
    store.wait()
    with monkeypatch.context() as patch:
        patch.setattr(AtomicRenameTemporaryPath, "finalize", fail)
        patch.setattr(_MetadataStoreImpl, "update", late)
        store.save(2, {"x": 2})
        with pytest.raises(CheckpointNotSaved, match=r"the checkpoint of step 2 .* disk full; saved are \[1\]"):
            store.save(3, {"x": 3}) if report == "save" else getattr(store, report)()
        time.sleep(0.1)  # for what is late
    assert store.steps() == [1]
    store.save(2, {"x": 2})
    assert store.restore()[0] == 2
    store.close()


WRITER = """
import sys
import numpy as np
from checkpoints import Store

with Store(sys.argv[1], keep=2) as store:
    found = store.restore()
    step = found[0] if found else 0
    while True:
        step += 1
        store.save(step, {str(i): np.full((200, 200), step, np.float32) for i in range(20)}, {"step": step})
        print(step, flush=True)
"""


def test_killed_at_any_moment_a_store_can_be_restored(tmp_path):
    newest = 0
    for delay in (0.0, 0.02, 0.07, 0.15):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        started = int(process.stdout.readline())
        for _ in range(3):
            started = int(process.stdout.readline())
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with Store(tmp_path, read_only=True) as store:
            step, restored, metadata = store.restore()
            assert step >= started - 1 > newest, "all but the save in flight were complete"
            assert store.steps()[-1] == step, "the newest with a name is whole"
            assert metadata == {"step": step}
            assert all(np.all(leaf == step) for leaf in restored.values())
        newest = step


def test_a_writer_clears_what_a_killed_one_left(tmp_path):
    with Store(tmp_path) as store:
        store.save(1, {"x": 1})
    leftover = (tmp_path / "1").rename(tmp_path / "2.orbax-checkpoint-tmp")
    with Store(tmp_path, read_only=True) as store:
        assert store.restore() is None
    assert leftover.exists()
    with Store(tmp_path) as store:
        store.save(3, {"x": 3})
    assert not leftover.exists()


PROCESS = """
import sys
import time
import jax
directory, address, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize(address, 2, index)
import jax.numpy as jnp
import numpy as np
from checkpoints import Store

with Store(directory, keep=2) as store:
    assert store.restore() is None
    for step in (1, 2, 3):
        store.save(step, {"x": np.arange(5) + step, "y": jnp.full((3,), step, jnp.bfloat16)}, {"step": step})
    step, tree, metadata = store.restore()
    assert store.steps() == [2, 3], store.steps()
    assert (step, metadata) == (3, {"step": 3})
    assert np.array_equal(tree["x"], np.arange(5) + 3) and np.all(tree["y"] == 3)
    time.sleep(int(index))  # process 0 deletes at once: the other one may not decide by what it finds afterwards
    store.save(3, {"x": np.zeros(2)}, force=True)
    assert store.restore()[1]["x"].shape == (2,)
print("restored", index)
"""


@pytest.mark.slow
def test_two_processes_share_a_store(tmp_path):
    import portpicker

    address = f"127.0.0.1:{portpicker.pick_unused_port()}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path / "run"), address, str(index)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for index, (process, output) in enumerate(zip(processes, outputs, strict=True)):
        assert process.returncode == 0 and f"restored {index}" in output, output


def test_importing_does_not_load_orbax():
    code = "import sys, checkpoints; assert not any(m.startswith(('orbax', 'tensorstore')) for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def many(seed: int) -> dict:
    """Enough arrays that many of them are being read when the first turns out damaged."""
    rng = np.random.default_rng(seed)
    return {"params": {f"a{i}": rng.standard_normal((300, 100), dtype=np.float32) for i in range(100)}}


QUIET = """
import os, sys
sys.path.insert(0, {root!r})
from checkpoints import Store
from tests.checkpoints.test_store import many
with Store({folder!r}, read_only=True) as store:
    os.write(2, b"begun\\n")
    assert store.restore(many(0))[0] == 1
"""


def test_damage_is_said_in_one_line_each(tmp_path: Path) -> None:
    """In a process of its own: what the libraries print, they print past Python's sys.stderr."""
    with Store(tmp_path / "run", keep=4) as store:
        for step in range(1, 5):
            store.save(step, many(step))
    for step, damage in ((2, "bit flip"), (3, "truncation"), (4, "missing")):
        files = [file for file in (tmp_path / "run" / str(step) / "state").rglob("*") if file.is_file()]
        DAMAGE[damage](max(files, key=lambda file: file.stat().st_size))
    code = QUIET.format(root=str(ROOT), folder=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.partition("begun\n")[2].splitlines()
    assert len(lines) == 4 and lines[3].endswith("the checkpoint of step 1 is taken in its place"), done.stderr
    for step, line in zip((4, 3, 2), lines[:3], strict=True):
        assert f"the checkpoint {tmp_path / 'run' / str(step)} is damaged: " in line
        assert "tensorstore_spec" not in line and len(line) < 600


FULL = """
import os, resource, signal, sys
sys.path.insert(0, {root!r})
from checkpoints import CheckpointNotSaved, Store
from tests.checkpoints.test_store import many
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Store({folder!r}) as store:
    store.save(1, {{"x": 1}})
    store.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    os.write(2, b"begun\\n")
    store.save(2, many(0))
    try:
        store.wait()
    except CheckpointNotSaved as error:
        os.write(2, f"{{error}}\\n".encode())
    assert store.restore()[0] == 1
"""


def test_a_full_disk_is_said_in_one_line_and_what_was_saved_stays(tmp_path: Path) -> None:
    code = FULL.format(root=str(ROOT), folder=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.partition("begun\n")[2].splitlines()
    assert line.startswith(f"the checkpoint of step 2 could not be saved in {tmp_path / 'run'}: ")
    assert "File too large" in line and line.endswith("; saved are [1]") and "tensorstore_spec" not in line
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["1"]
