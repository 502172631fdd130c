"""The folder a run lives in: its config, checkpoints, curves, samples and reports; nothing in it is lost."""

import json
import os
import re
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from autoencoders import CODECS
from checkpoints.store import Store
from configs import default
from experiment import config_files, fields
from experiment.config_files import canonical, expand
from experiment.writing import replacing

RUN_SECTIONS = ("sde", "model", "data")  # what a checkpoint means; the rest may differ when it is only used
FREE_SECTIONS = (
    "sampling",
    "eval",
    "edit",
    "visualize",
    "sweep",
    "published",
)  # nothing that is trained depends on them
MAY_MOVE = ("data.path", "data.test_path", "data.data_dir")  # where the data lie
OTHER_RUNS = (  # where their weights lie
    *("training.teacher", "training.teacher_checkpoint", "training.begin_with"),
    *("data.codec", "data.codec_checkpoint", "data.text_encoder"),
)
MEASURED = ("data.latent_scale", "data.latent_shift")  # as a run begins, where they are None; the run has them then
LEFT_TO_THE_RUN = (*MEASURED, "data.codec", "data.text_encoder", "sampling.scheduler_config")  # the latter where ''
IMPORTED_WITH = {"codec": "codec", "text_encoder": "text"}  # of the section data, and folders within the run's own
WHILE_TRAINED = ("data.clip_skip",)  # compared when a run is trained on; samples may be drawn with others
# nor on when it is told of,
FREQUENCIES = ("log_freq", "eval_freq", "snapshot_freq", "snapshot_freq_for_preemption", "ema_snapshot_freq")
OUTPUT = ("keep_checkpoints", "snapshot_sampling", "snapshot_fid_samples", "ema_stds")  # or on what is kept and drawn
MAY_CHANGE = (
    *(f"training.{name}" for name in FREQUENCIES + OUTPUT),
    *("training.parallelism", "training.remat", "training.accumulate"),  # nor on this, beyond rounding
    *("data.in_memory", "data.verify", "data.changed"),
    "data.captions",  # which are among what `experiment.inputs` compares
    *("data.latent_cache", "data.latent_tile"),
    *("training.trackers", "training.tracker_options"),
)
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
FOR_ONE_START = {"data.changed": "refuse"}  # said to one start, and saved as it is without a word


def write_text(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old one or the new one, never a half."""
    with replacing(path) as file:
        file.write(text.encode())


def set_aside(path: Path) -> Path:
    """Rename an earlier file of this name to the first free number, name.1.suffix, so that none is overwritten."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
            number += 1
        path.rename(aside)
    return path


def flatten(config: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts as one dict of dotted names; tuples, at any depth, as the lists JSON makes of them."""
    return {".".join(map(str, path)): _lists(value) for path, value in flatten_dict(config).items()}


def _lists(value: Any) -> Any:
    return [_lists(inner) for inner in value] if isinstance(value, list | tuple) else value


def _differ(saved: Any, given: Any) -> bool:
    """Whether two values differ; NaN, as older runs may have it, is the same as NaN."""
    return saved != given and (saved == saved or given == given)


def _is_one_of(name: str, fields: tuple[str, ...]) -> bool:
    """Whether a field is one of these, or lies within one of them that holds fields itself."""
    return any(name == field or name.startswith(f"{field}.") for field in fields)


def _names_run(value: Any) -> bool:
    """Whether a field names another run, or one of its checkpoints."""
    return bool(value) and value not in CODECS


def _lengthens(name: str, saved: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether a field only makes the run longer: its end, or, where that is later, the end of the rate's fall.

    Nothing that is drawn or averaged depends on the end. The rate does depend on how long it falls: it goes on at its
    place on the longer curve.
    """
    more = given.get("training.n_iters", 0) - saved.get("training.n_iters", 0)
    if name == "training.n_iters":
        return more >= 0
    return name == "optim.decay_steps" and more > 0 and 0 < saved.get(name, 0) <= given.get(name, 0)


def _is_source(path: Path) -> bool:
    """Whether this is the project's folder, or one inside it at or above which it holds Python files."""
    root, path = Path(__file__).resolve().parents[1], path.resolve()
    inside = [folder for folder in (path, *path.parents) if root in folder.parents]
    return path == root or any(any(folder.glob("*.py")) for folder in inside)


def differing(saved: ConfigDict, given: ConfigDict, *, training: bool = False, moved: bool = True) -> str:
    """The fields, in words, in which a config is not the one that a run was saved with; "" where it may be used.

    Args:
      saved: the run's own config.
      given: the config with which it is to be used.
      training: whether it is trained on, for which every field counts on which a number that is trained depends.
      moved: whether the data may lie elsewhere.
    """
    then, now = flatten(canonical(saved).to_dict()), flatten(canonical(given).to_dict())
    defaults, missing = flatten(default.get_config().to_dict()), "nothing"
    names = [
        name
        for name in sorted(then.keys() | now.keys())
        if _differ(then.get(name, missing), now.get(name, missing))
        and (name.split(".")[0] not in FREE_SECTIONS if training else name.split(".")[0] in RUN_SECTIONS)
        and not (moved and name in MAY_MOVE)
        and not _is_one_of(name, MAY_CHANGE)
        and (training or name not in WHILE_TRAINED)
        and not (name in OTHER_RUNS and _names_run(then.get(name)) and _names_run(now.get(name)))
        and not (name in MEASURED and now.get(name) is None)
        and not _lengthens(name, then, now)
        and not (name not in then and name in defaults and now[name] == defaults[name])
    ]
    shown = ", ".join(f"{name} (saved {then.get(name, missing)}, now {now.get(name, missing)})" for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class Workdir:
    """Paths of a run and the check that it is continued with the config it was begun with.

    Raises:
      ValueError: an empty path, an address such as gs://..., or one among the project's own source code.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(expand(os.fspath(path)))
        if not os.fspath(path).strip():
            raise ValueError(f"the folder of the run is {os.fspath(path)!r}; give one, such as --workdir=runs/digits")
        if ADDRESS.match(os.fspath(path)):
            raise ValueError(
                f"the folder of the run is {os.fspath(path)!r}, an address that only the checkpoints would understand; "
                "give a folder of this machine, under which that place is mounted"
            )
        if _is_source(self.path):
            raise ValueError(
                f"{self.path} is a folder of the project's own source code, and a run would mix its files with it; "
                "give another folder, such as --workdir=runs/digits"
            )
        self.config_file = self.path / "config.json"
        self.inputs_file = self.path / "inputs.json"

    def config(self) -> ConfigDict:
        """The run's, as it was saved; what it is too old to know is as in configs/default.py.

        Autoencoder and text encoder that were imported with the run are those within its folder, wherever it lies now.

        Raises:
          ValueError: a config.json that is damaged, or has a field that nothing reads; the message names the file.
          OSError: there is none.
        """
        config = config_files.from_run(self.config_file)
        fields.check(config, str(self.config_file))
        with config.unlocked():
            for field, name in IMPORTED_WITH.items():
                if Path(str(config.data.get(field, ""))).name == name and (self.path / name).is_dir():
                    config.data[field] = str(self.path / name)
        return config

    def store(self, *, read_only: bool = False, **kept: Any) -> Store:
        """Its checkpoints; `kept` says which of them stay (`Store`)."""
        return Store(self.path / "checkpoints", read_only=read_only, **kept)

    def archived(self) -> list[int]:
        """The steps that were archived by the `training.snapshot_freq` of their time; the run may have changed it."""
        with self.store(read_only=True) as store:
            of_steps = {step: store.metadata(step).get("config", {}) for step in store.steps()}
        frequencies = {step: config.get("training", {}).get("snapshot_freq") for step, config in of_steps.items()}
        return [step for step, frequency in frequencies.items() if frequency and step % frequency == 0]

    def check(self, config: ConfigDict, *, training: bool) -> None:
        """Refuse a config that differs from the saved one, naming the fields.

        Training compares every field on which a number that is trained depends: not those of sampling, eval, edit,
        visualize, sweep and published, nor how often something is written and to whom it is told, nor how it runs on
        its devices; and training.n_iters may grow, with it optim.decay_steps.
        Where the data lie it compares only in a run too old to have recorded what they are (`experiment.inputs`), and
        of other runs only whether there are any: their weights are compared.
        Sampling and evaluation compare what the checkpoint depends on (sde, model, data), but not where the data lie.
        A field that the saved config is too old to know had the value that is its default now.

        Raises:
          ValueError: the configs differ, the saved one is damaged, or (training false) there is none.
        """
        if not self.config_file.exists():
            if training:
                return
            raise ValueError(f"{self.path} holds no run (no config.json); train one with --mode=train first")
        saved = ConfigDict(config_files.saved(self.config_file))
        if found := differing(saved, config, training=training, moved=not training or self.inputs_file.exists()):
            raise ValueError(
                f"{self.path} was begun with another config: {found}; use the saved values (all of them, where "
                "--config is left out) or another --workdir"
            )

    def completed(self, config: ConfigDict) -> ConfigDict:
        """The config with what the run's own has where this one leaves it to the run; itself where there is no run.

        That is what the run measured as it began (None here), and the autoencoder and the scheduler that were imported
        with it ("" here).
        """
        left = {name: config[name.split(".")[0]][name.split(".")[1]] for name in LEFT_TO_THE_RUN}
        if not self.config_file.exists() or all(value not in (None, "") for value in left.values()):
            return config
        saved, config = self.config(), config.copy_and_resolve_references()
        with config.ignore_type(), config.unlocked():
            for section, name in (field.split(".") for field, value in left.items() if value in (None, "")):
                config[section][name] = saved[section][name]
        return config.lock()

    def _has_begun(self) -> bool:
        with self.store(read_only=True) as store:
            return store.latest_step() is not None

    def begin(self, config: ConfigDict) -> None:
        """Create the folder and save the resolved config in it, unless that very config is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        saved = config.copy_and_resolve_references()
        saved.update_from_flattened_dict(FOR_ONE_START)
        before = self.config().training.begin_with if self.config_file.exists() else saved.training.begin_with
        if before != saved.training.begin_with and self._has_begun():  # with what it did, whatever is named now
            saved.training.begin_with = before
        text = json.dumps(saved.to_dict(), indent=2, sort_keys=True) + "\n"
        if not self.config_file.exists() or self.config_file.read_bytes() != text.encode():
            write_text(self.config_file, text)
