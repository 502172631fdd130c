"""Where a training tells its numbers, one tracker a file: ``training.trackers`` names them.

To add one, write a subclass of `Tracker` in a new file and give it a line here and its name to
`experiment.ranges.TRACKERS`. Its options are the parameters ``name: Annotated[type, range] = default`` of its
constructor, and ``training.tracker_options`` sets them: ``{"NAME": {"option": value}}``.
"""

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from limits import check_known, check_named
from training.trackers.base import Tracked, Tracker
from training.trackers.jsonl import JsonLines
from training.trackers.ml_flow import MLflow
from training.trackers.tensorboard import TensorBoard
from training.trackers.together import Trackers
from training.trackers.weights_and_biases import WeightsAndBiases

__all__ = ["TRACKERS", "Tracked", "Tracker", "Trackers", "check", "create"]

TRACKERS: dict[str, type[Tracker]] = {
    "jsonl": JsonLines,
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def check(config: ConfigDict) -> None:
    """Refuse options of trackers that they do not take; a tracker whose package is not installed is no reason.

    Raises:
      ValueError: `training.tracker_options` has a tracker that is not known or not asked for, an option that it lacks,
        or a value outside its range.
    """
    asked = config.training.trackers
    for name, options in config.training.tracker_options.to_dict().items():
        check_known("tracker in training.tracker_options", name, TRACKERS)
        if name not in asked:
            raise ValueError(
                f"training.tracker_options has {name!r}, and training.trackers are {', '.join(asked) or 'none'}; add "
                "it there, or leave its options out"
            )
        check_named("training.tracker_options", name, options, TRACKERS[name])


def create(config: ConfigDict, folder: Path, start: int) -> Trackers:
    """Make the trackers of a training in that folder, which goes on from the step `start`.

    One whose package is not installed is dropped with one warning, which says how to install it.
    """
    run, options = Tracked(folder, start, config.to_dict()), config.training.tracker_options.to_dict()
    return Trackers({name: partial(_made, name, run, options.get(name, {})) for name in config.training.trackers})


def _made(name: str, run: Tracked, options: dict[str, Any]) -> Tracker:
    """Make the tracker of that name; ModuleNotFoundError where its package is not installed."""
    tracker: Any = TRACKERS[name]
    if tracker.package and not _is_installed(tracker.package):
        pip = f"pip install {tracker.distribution or tracker.package}"
        raise ModuleNotFoundError(f"its package {tracker.package} is not installed; {pip}")
    return tracker(run, **options)


def _is_installed(package: str) -> bool:
    """Whether a package can be imported; a folder of its name, as wandb leaves one behind, is none."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None
