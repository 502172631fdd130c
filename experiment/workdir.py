"""The folder a run lives in: its config, checkpoints, curves, samples and reports; nothing in it is lost."""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from checkpoints.store import Store
from configs import default

RUN_SECTIONS = ("sde", "model", "data")  # what a checkpoint means; the rest may differ when it is only used
FREE_SECTIONS = ("eval", "edit", "published")  # nothing that is trained depends on them
MAY_MOVE = ("data.path", "data.test_path", "data.data_dir", "data.in_memory", "data.verify")  # where the data lie
MAY_GROW = ("training.n_iters",)  # nothing that is drawn or averaged depends on it
MAY_CHANGE = ("training.parallelism", "training.remat")  # nor on this, beyond rounding


def write_text(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old one or the new one, never a half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def set_aside(path: Path) -> Path:
    """Rename an earlier file of this name to the first free number, name.1.suffix, so that none is overwritten."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
            number += 1
        path.rename(aside)
    return path


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict of dotted names; tuples as the lists JSON makes of them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


class Workdir:
    """Paths of a run and the check that it is continued with the config it was begun with."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config_file = self.path / "config.json"

    def store(self, *, keep: int = 3, keep_period: int | None = None, read_only: bool = False) -> Store:
        """Its checkpoints."""
        return Store(self.path / "checkpoints", keep=keep, keep_period=keep_period, read_only=read_only)

    def check(self, config: ConfigDict, *, training: bool) -> None:
        """Refuse a config that differs from the saved one, naming the fields.

        Training compares every field but those of eval and published and how it runs on its devices, and
        training.n_iters may grow; sampling and evaluation compare what the checkpoint depends on (sde, model, data),
        but not where the data lie. A field that the saved config is too old to know had the value that is its default
        now.

        Raises:
          ValueError: the configs differ, or (training false) there is none saved.
        """
        if not self.config_file.exists():
            if training:
                return
            raise ValueError(f"{self.path} holds no run (no config.json); train one with --mode=train first")
        saved, given = flatten(json.loads(self.config_file.read_text())), flatten(config.to_dict())
        defaults, missing = flatten(default.get_config().to_dict()), "nothing"
        differing = [
            name
            for name in sorted(saved.keys() | given.keys())
            if saved.get(name, missing) != given.get(name, missing)
            and (name.split(".")[0] not in FREE_SECTIONS if training else name.split(".")[0] in RUN_SECTIONS)
            and (training or name not in MAY_MOVE)
            and name not in MAY_CHANGE
            and not (name in MAY_GROW and given.get(name, 0) >= saved.get(name, 0))
            and not (name not in saved and name in defaults and given[name] == defaults[name])
        ]
        if differing:
            shown = ", ".join(
                f"{n} (saved {saved.get(n, missing)}, now {given.get(n, missing)})" for n in differing[:5]
            )
            more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
            raise ValueError(
                f"{self.path} was begun with another config: {shown}{more}; use the saved values or another --workdir"
            )

    def begin(self, config: ConfigDict) -> None:
        """Create the folder and save the resolved config in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n")
