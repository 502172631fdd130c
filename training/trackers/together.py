"""All trackers of a training as one, of which any may fail without the training."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from absl import logging

from training.trackers.base import Tracker


class Trackers:
    """What a training tells its numbers to; a tracker that raises is dropped with one warning, and all else goes on."""

    def __init__(self, makers: Mapping[str, Callable[[], Tracker]]):
        """Make each of them, by its name; one that cannot be made is dropped."""
        self._kept: dict[str, Tracker] = {}
        for name, make in makers.items():
            if (made := self._attempt(name, make)) is not None:
                self._kept[name] = made

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Tell named numbers at a step."""
        for name, tracker in list(self._kept.items()):
            self._attempt(name, partial(tracker.write, step, values))

    def picture(self, step: int, path: Path) -> None:
        """Tell of the picture in a file, a grid of samples at a step."""
        for name, tracker in list(self._kept.items()):
            self._attempt(name, partial(tracker.picture, step, path))

    def close(self) -> None:
        """End all of them."""
        for name, tracker in list(self._kept.items()):
            self._attempt(name, tracker.close)
        self._kept.clear()

    def _attempt(self, name: str, act: Callable[[], Any]) -> Any:
        """What `act` returns; None where it raises, and the tracker is dropped then."""
        try:
            return act()
        except Exception as error:  # a service may raise anything
            self._kept.pop(name, None)
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            logging.warning("the tracker %r is left out from here on, and the training goes on: %s", name, said)
            return None
