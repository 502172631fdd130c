"""What a tracker is: it is told the numbers and the pictures of a training, and keeps them or shows them elsewhere."""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from experiment.workdir import write_text

IDENTITIES = "trackers.json"


@dataclasses.dataclass(frozen=True)
class Tracked:
    """The training that is tracked.

    Attributes:
      folder: the --workdir of the run.
      start: the step from which it goes on; 0 where it begins.
      config: the whole config, as nested dictionaries.
    """

    folder: Path
    start: int
    config: Mapping[str, Any]


class Tracker(ABC):
    """One place to which a training tells its numbers; process 0 alone has any.

    A constructor takes the `Tracked` run. Its parameters ``name: Annotated[type, range] = default`` are the options
    that ``training.tracker_options`` sets. Whatever a tracker raises drops it and no more (`Trackers`).

    Attributes:
      package: the package that it is imported from, which need not be installed; "" of those that always are.
      distribution: the name by which pip installs that package; "" where it is the same.
    """

    package: ClassVar[str] = ""
    distribution: ClassVar[str] = ""

    @abstractmethod
    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take named numbers at a step."""

    def picture(self, step: int, path: Path) -> None:  # noqa: B027  # some show none
        """Take the picture in a file, a grid of samples at a step."""

    def close(self) -> None:  # noqa: B027  # some have nothing to end
        """Write what is left, at the end of the training."""


def identity(folder: Path, name: str, new: Callable[[], str]) -> str:
    """The identifier by which a service of that name knows the run in a folder; a new one the first time.

    It is kept in the folder's trackers.json, so that a run that goes on is the same run there. Where that file is
    damaged there is a new one.
    """
    file = folder / IDENTITIES
    try:
        known = json.loads(file.read_text())
        if isinstance(found := known.get(name), str):
            return found
    except (OSError, ValueError, AttributeError, RecursionError):
        known = {}
    made = new()
    write_text(file, json.dumps({**known, name: made}, indent=2) + "\n")
    return made
