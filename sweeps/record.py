"""A sweep writes down what it is: its values and the config that its points share. Its folder takes no other sweep."""

import json
from typing import Any

from ml_collections import ConfigDict

from configs import default
from experiment import config_files
from experiment.workdir import Workdir, flatten, write_text
from sweeps.points import base

FILE = "sweep.json"
MEND = "use another --workdir for another sweep, or remove the folder to begin anew"


def check(workdir: Workdir, config: ConfigDict) -> None:
    """Refuse a folder that holds a run, or a sweep of other values, of other modes or of another config.

    Raises:
      ValueError: as above, or the folder's sweep.json is damaged; the message names what differs.
    """
    if workdir.config_file.exists():
        raise ValueError(f"{workdir.path} holds a run, and a sweep has a folder of its own; {MEND}")
    if not (workdir.path / FILE).exists():
        return
    saved, given = _read(workdir), json.loads(json.dumps(_about(config)))
    for name in ("axes", "modes"):
        if saved[name] != given[name]:
            raise ValueError(f"{workdir.path} holds a sweep with sweep.{name} {saved[name]}, now {given[name]}; {MEND}")
    ours, theirs = flatten(given["config"]), flatten(saved["config"])
    defaults = flatten(default.get_config().to_dict())  # of fields that the sweep is too old to know
    differing = [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != (theirs[name] if name in theirs else defaults.get(name))
    ]
    if differing:
        shown = ", ".join(
            f"{name} (saved {theirs.get(name, 'nothing')}, now {ours.get(name, 'nothing')})" for name in differing[:5]
        )
        raise ValueError(f"{workdir.path} holds a sweep of another config: {shown}; {MEND}")


def begin(workdir: Workdir, config: ConfigDict) -> None:
    """Make the folder and write down what the sweep is, unless it is there; several commands may do so at once."""
    workdir.path.mkdir(parents=True, exist_ok=True)
    if not (workdir.path / FILE).exists():
        write_text(workdir.path / FILE, json.dumps(_about(config), indent=2, sort_keys=True) + "\n")


def config_in(workdir: Workdir) -> ConfigDict | None:
    """The config of the sweep in a folder; None where there is none.

    Raises:
      ValueError: its sweep.json is damaged.
    """
    if not (workdir.path / FILE).exists():
        return None
    saved = _read(workdir)
    sweep = {name: saved[name] for name in ("axes", "modes")}
    return config_files.from_json(saved["config"] | {"sweep": sweep}, str(workdir.path / FILE))


def _about(config: ConfigDict) -> dict[str, Any]:
    """Everything that the numbers of the points depend on."""
    shared = {name: value for name, value in base(config).to_dict().items() if name != "sweep"}
    return {"axes": config.sweep.axes, "modes": config.sweep.modes, "config": shared}


def _read(workdir: Workdir) -> dict[str, Any]:
    file = workdir.path / FILE
    found = config_files.read_json(file, MEND)
    kinds = {"axes": list, "modes": list, "config": dict}
    if not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"{file} is damaged: it is not what a sweep writes; {MEND}")
    return found
