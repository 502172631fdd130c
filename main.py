"""The command line: one working folder, one mode, and a config: of a file, or the one that the folder's run has saved.

python main.py --mode=train --config=configs/vp/digits.py --workdir=runs/digits [--config.training.batch_size=64 ...]
python main.py --mode=sample --workdir=runs/digits [--config.sampling.steps=50 ...]
"""

import logging as std_logging
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import heap
import interruption

if __name__ == "__main__":
    heap.keep()  # before JAX starts its threads
    interruption.install()  # before the imports, which take seconds

from absl import app, flags, logging
from ml_collections import ConfigDict

MODES = (
    *("train", "sample", "evaluate", "edit", "compare", "visualize", "reproduce", "stats", "import", "export"),
    "sweep",
)
CONFIG = flags.DEFINE_string(
    "config", None, "The experiment, a file under configs/; may be left out where --workdir holds a run."
)
MODE = flags.DEFINE_enum("mode", None, MODES, "What to do.")
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run: checkpoints, curves, samples, reports.")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "The published file or folder that --mode=import reads; or digits, a run that comes with the project.",
)
SAMPLES = flags.DEFINE_string(
    "samples", None, "Pictures that --mode=evaluate compares with eval.reference_stats: a folder, a .zip or an .npz."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "Several processes: host:port of process 0, or auto.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes take part.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
OVERRIDE = re.compile(r"--?(no)?config\.([^=]*)(?:=(.*))?", re.DOTALL)
HELP = {"--help", "-help", "-h", "-?", "--helpshort", "-helpshort"}

Changes = Sequence[tuple[str, str | None]]
"""Fields of the config and what the command line says of them; None is a flag alone, as --config.eval.ema."""


def run(mode: str, config: ConfigDict, path: str, given: str | None = None) -> None:
    """Check everything, then do what `mode` says; `given` as in `prepare`."""
    prepare(mode, config, path, given)()


def prepare(mode: str, config: ConfigDict, path: str, given: str | None = None) -> Callable[[], object]:
    """What `mode` will do, after everything is checked; of a mode that writes, holding the lock of what it writes.

    `given` is what the mode reads besides a run: the --checkpoint of import, the --samples of evaluate. Nothing is
    written before it is done, but by import: reading the file is its check, and it has written the run by then.
    """
    import modes
    from experiment import refusing

    with refusing():
        return modes.prepare(mode, config, path, given)


def config_of(
    file: str | None, path: str, changes: Changes = (), *, mode: str = "", given: str | None = None
) -> ConfigDict:
    """The config of a file, or else the one that the run in the folder `path` has saved, with these changes.

    Where neither is there, --mode=sweep takes that of the sweep in the folder, --mode=import that in its `given` file
    where this holds one, and --mode=evaluate of given samples that of configs/default.py.
    """
    from configs import default
    from experiment import config_files, fields, importing, refusing
    from experiment.workdir import Workdir
    from sweeps import record

    with refusing():
        workdir = Workdir(path)
        if file is None and not workdir.config_file.exists():
            own = None
            if mode == "sweep":
                own = record.config_in(workdir)
            elif given:
                own = importing.config_in(given) if mode == "import" else default.get_config()
            if own is not None:
                return fields.override(own, changes)
            alone = f", and where --checkpoint is a run in one file, which {given} is not" if given else ""
            raise ValueError(
                f"missing --config; it may be left out where --workdir holds a run, and {path} holds none (no "
                f"config.json){alone}; give --config=FILE, an experiment under configs/"
            )
        return fields.override(workdir.config() if file is None else config_files.from_file(file), changes)


def parse(arguments: list[str]) -> Changes:
    """Read the flags, and return the changes to the config; a wrong flag ends the program with exit code 2."""
    try:
        arguments = [arguments[0], *flags.FLAGS.read_flags_from_files(arguments[1:], force_gnu=False)]
        rest, changes = _split(arguments)
        if HELP & set(rest[1:]):
            _help()
        if "--version" in rest[1:]:
            _version()
        rest = flags.FLAGS(rest)
        missing = [name for name in ("mode", "workdir") if flags.FLAGS[name].value is None]
        if missing:
            raise ValueError(f"missing --{missing[0]}; needed are --mode ({', '.join(MODES)}), --workdir and --config")
        if rest[1:]:
            raise ValueError(f"unexpected argument {rest[1]!r}; flags are written --name=value")
        return changes
    except (flags.Error, ValueError, OSError) as error:
        _refuse(error)
    except SystemExit:  # --helpfull, after which absl would exit with 1
        sys.exit(0)


def _help() -> NoReturn:
    """Say how the program is used, and end it."""
    import modes

    print(f"{__doc__}\nModes:")
    for name, act in modes.MODES.items():
        print(f"  {name:<10} {(act.__doc__ or '').splitlines()[0]}")
    print("\nFlags:")
    for name in (flag.name for flag in (MODE, CONFIG, WORKDIR, CHECKPOINT, SAMPLES, COORDINATOR, PROCESSES, PROCESS)):
        print(f"  --{name:<12} {flags.FLAGS[name].help}")
    print(
        "  --config.SECTION.FIELD=VALUE  Any field of configs/default.py, and any option of the process, network and\n"
        "                data set that the config names. --helpfull lists the flags of the libraries too."
    )
    sys.exit(0)


def _version() -> NoReturn:
    """Say which version of the project this is, and end the program."""
    from experiment.version import NAME, version

    print(f"{NAME} {version()}")
    sys.exit(0)


def _split(arguments: list[str]) -> tuple[list[str], Changes]:
    """The arguments without those that change the config, --config.SECTION.FIELD=VALUE, and the changes."""
    rest, changes, left = [], [], list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            rest += [argument, *left]
            break
        found = OVERRIDE.fullmatch(argument)
        if not found:
            rest.append(argument)
            continue
        no, field, value = found.groups()
        if value is None and not no and left and re.match(r"[^-]|-[.\d]", left[0]):
            value = left.pop(0)
        changes.append((field, "False" if no else value))
    return rest, changes


def _refuse(error: Exception) -> NoReturn:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(2)


def _out_of_memory(error: Exception) -> NoReturn:
    """Say in one line what did not fit and which numbers of the mode to lower; exit code 1."""
    lower = {
        "train": "training.batch_size, or set training.accumulate=2, training.remat=True or training.parallelism=fsdp",
        "edit": "edit.count",
        "visualize": "visualize.count or visualize.points",
        "import": "the number of programs beside this one",
        "export": "the number of programs beside this one",
    }
    mend = lower.get(flags.FLAGS.mode, "eval.batch_size and eval.inception_batch_size")
    said = (" ".join(str(error).split()) or type(error).__name__)[:200]
    print(f"error: out of memory ({said}); lower {mend}; what was saved before stays", file=sys.stderr)
    sys.exit(1)


def _given() -> str | None:
    """The file or folder that the mode reads besides a run; a `Refusal` where another mode reads the one that is named.

    Raises:
      Refusal: --samples without --mode=evaluate, or --checkpoint without --mode=import.
    """
    from experiment import Refusal

    readers = {"samples": (SAMPLES, "evaluate"), "checkpoint": (CHECKPOINT, "import")}
    for name, (flag, mode) in readers.items():
        if flag.value and flags.FLAGS.mode != mode:
            raise Refusal(f"--{name} is for --mode={mode}, and --mode is {flags.FLAGS.mode}; leave it out")
    return SAMPLES.value or CHECKPOINT.value


def main(changes: Changes) -> None:
    """Start JAX's processes if there are several, and run."""
    import jax

    from checkpoints.store import CheckpointDamaged, CheckpointNotSaved
    from data.source import Unreadable
    from experiment import Failure, Refusal, compilation_cache, lost, refusing
    from experiment.processes import join
    from experiment.workdir import Workdir

    logging.set_verbosity(logging.INFO)
    std_logging.getLogger("jax").setLevel(std_logging.WARNING)  # that there is no TPU is no news
    try:
        given = _given()
        config = config_of(CONFIG.value, flags.FLAGS.workdir, changes, mode=flags.FLAGS.mode, given=given)
        if COORDINATOR.value is not None:
            lost.watch(PROCESSES.value, PROCESS.value)
        with refusing():
            join(COORDINATOR.value, PROCESSES.value, PROCESS.value)
        if flags.FLAGS.mode != "train":  # which stops at a step that all processes agree on, by JAX's own SIGTERM
            interruption.listen()
        act = prepare(flags.FLAGS.mode, config, flags.FLAGS.workdir, given)
        compilation_cache.enable(Workdir(flags.FLAGS.workdir).path)
        act()
    except Refusal as refusal:
        _refuse(refusal)
    except (Failure, CheckpointDamaged, CheckpointNotSaved, Unreadable) as failure:
        print("error:", failure, file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a disk that is full, a folder that has gone
        print(f"error: {error}; what was saved before stays", file=sys.stderr)
        sys.exit(1)
    except MemoryError as error:
        _out_of_memory(error)
    except jax.errors.JaxRuntimeError as error:
        if str(error).startswith("RESOURCE_EXHAUSTED"):
            _out_of_memory(error)
        if COORDINATOR.value is None or not lost.severed(error):
            raise
        time.sleep(2 * lost.HEARTBEAT_SECONDS)  # JAX finds out which process it was, and ends this one
        print("error: another process was lost:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
    if interruption.received:  # a training that has saved
        sys.exit(interruption.exit_code(interruption.received))


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
