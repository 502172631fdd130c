"""The tracker "wandb" tells Weights & Biases, where its package is installed."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from limits import Text
from training.trackers.base import Tracked, Tracker, identity


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases of the folder's name, with the config; a training that goes on is the same run there.

    Its environment variables say all else: WANDB_API_KEY, WANDB_BASE_URL, and WANDB_MODE=offline where there is no
    network. Steps that a killed training repeats are sent again with the same numbers, and are passed over there.
    """

    package = "wandb"

    def __init__(
        self,
        run: Tracked,
        project: Annotated[str, Text()] = "jax-score-sde",
        entity: Annotated[str, Text()] = "",
    ):
        import wandb  # which need not be installed

        self._image = wandb.Image
        self._run = wandb.init(
            project=project,
            entity=entity or None,
            name=run.folder.name,
            id=identity(run.folder, "wandb", lambda: uuid.uuid4().hex),
            resume="allow",
            dir=str(run.folder),
            config=dict(run.config),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers at their step."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        """Log the picture under the name "samples"."""
        self._run.log({"samples": self._image(str(path))}, step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()
