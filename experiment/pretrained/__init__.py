"""Trained runs that come with the project, each one file (`checkpoints.run_file`) with a card beside it.

``experiment.load("digits")`` reads one, and ``--mode=import --checkpoint=digits --workdir=runs/digits`` makes a folder
of it, which every mode takes.
"""

import os
from pathlib import Path

from data.fingerprint import of_file
from experiment.config_files import expand
from limits import nearest

FOLDER = Path(__file__).parent
SHIPPED = {
    "digits": "15c9f70358803d1339861f5ca00174ccca292f7fca56a03446d1126ede77c191",
}
"""The SHA-256 of each file NAME.safetensors in this folder; NAME.md is its card."""


def named(given: str | os.PathLike) -> str:
    """The words of a message that name the shipped runs, and ask whether the nearest one was meant."""
    return f"a run that comes with the project, {' or '.join(SHIPPED)}{nearest(Path(given).name, SHIPPED)}"


def resolve(given: str | os.PathLike) -> Path:
    """The file or folder that is meant: what lies at that path, or else the shipped run of that name.

    A folder of that name holds a run, or is not meant.

    Raises:
      ValueError: the file of a shipped run is not what was shipped.
      OSError: it is not there.
    """
    path, name = Path(expand(os.fspath(given))), os.fspath(given)
    if name not in SHIPPED or path.is_file() or (path / "config.json").exists():
        return path
    file = FOLDER / f"{name}.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there, which comes with the project; install it anew")
    if (found := of_file(file)) != SHIPPED[name]:
        raise ValueError(
            f"{file} is damaged: its SHA-256 is {found[:12]}, and that of what was shipped {SHIPPED[name][:12]}; "
            "install the project anew"
        )
    return file
