"""The command line: one config, one working folder, one mode.

python main.py --mode=train --config=configs/vp/digits.py --workdir=runs/digits [--config.training.batch_size=64 ...]
"""

import contextlib
import logging as std_logging
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

MODES = ("train", "sample", "evaluate", "edit", "compare", "reproduce", "stats", "import", "export")
CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, a file under configs/.", lock_config=True)
MODE = flags.DEFINE_enum("mode", None, MODES, "What to do.")
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run: checkpoints, curves, samples, reports.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The published file or folder that --mode=import reads.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "Several processes: host:port of process 0, or auto.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes take part.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")


def run(mode: str, config: ConfigDict, path: str, checkpoint: str | None = None) -> None:
    """Check everything, then do what `mode` says."""
    prepare(mode, config, path, checkpoint)()


def prepare(mode: str, config: ConfigDict, path: str, checkpoint: str | None = None) -> Callable[[], object]:
    """What `mode` will do, after everything is checked; of a mode that writes, holding the lock of what it writes."""
    import modes
    from experiment import lock, refusing
    from experiment.workdir import Workdir

    workdir, part = Workdir(path), modes.LOCKS.get(mode)
    with contextlib.ExitStack() as stack:
        with refusing():
            if part:
                stack.enter_context(lock.held(workdir.path, part, mode, create=mode in modes.BEGIN))
            act = modes.MODES[mode](config, workdir, checkpoint)
        locked = stack.pop_all()

    def act_and_release() -> object:
        with locked:
            return act()

    return act_and_release


def parse(arguments: list[str]) -> list[str]:
    """Flags and config overrides; a wrong one ends the program in one line with exit code 2."""
    try:
        rest = flags.FLAGS(arguments)
        missing = [name for name in ("mode", "config", "workdir") if flags.FLAGS[name].value is None]
        if missing:
            raise ValueError(f"missing --{missing[0]}; needed are --mode ({', '.join(MODES)}), --config and --workdir")
        if rest[1:]:
            raise ValueError(f"unexpected argument {rest[1]!r}; flags are written --name=value")
        return rest
    except (flags.Error, ValueError, TypeError, AttributeError, KeyError, ImportError, OSError, SyntaxError) as error:
        _refuse(error)


def _refuse(error: Exception) -> None:
    while error.args and isinstance(error.args[0], Exception):  # ml_collections wraps one in another
        error = error.args[0]
    text = str(error)
    if isinstance(error, KeyError):  # whose str is a repr; ml_collections' alone names the wrong field and no more
        text = f"unknown config field: {error.args[0]}; configs/default.py says what there is"
    print("error:", " ".join(text.split()), file=sys.stderr)
    sys.exit(2)


def main(_: list[str]) -> None:
    """Start JAX's processes if there are several, and run."""
    from checkpoints.store import CheckpointDamaged
    from data.source import Unreadable
    from experiment import Failure, Refusal, compilation_cache, refusing
    from experiment.processes import join

    logging.set_verbosity(logging.INFO)
    std_logging.getLogger("jax").setLevel(std_logging.WARNING)  # that there is no TPU is no news
    try:
        with refusing():
            join(COORDINATOR.value, PROCESSES.value, PROCESS.value)
        act = prepare(MODE.value, CONFIG.value, WORKDIR.value, CHECKPOINT.value)
        compilation_cache.enable(Path(WORKDIR.value))
        act()
    except Refusal as refusal:
        _refuse(refusal)
    except (Failure, CheckpointDamaged, Unreadable) as failure:
        print("error:", failure, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
