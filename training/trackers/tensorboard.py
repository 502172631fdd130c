"""The tracker "tensorboard" writes the numbers and the pictures as events, in the folder tensorboard/ of the run."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.trackers.base import Tracked, Tracker


class TensorBoard(Tracker):
    """One file of events for each start of the run; what a killed run wrote beyond its last checkpoint is passed over.

    ``tensorboard --logdir=runs`` shows the curves of all runs below a folder.
    """

    def __init__(self, run: Tracked):
        from tensorboardX import event_file_writer, summary  # slow to import
        from tensorboardX.proto import event_pb2

        folder = run.folder / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        begun = any(folder.iterdir())
        # Not its SummaryWriter, whose thread dies of a full disk, after which the run waits for it for ever.
        self._board = event_file_writer.EventsWriter(str(folder / "events"))
        self._event_of, self._summary = event_pb2.Event, summary
        if begun:
            self._event(run.start + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
            self._board.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one event for each number."""
        for name, value in values.items():
            self._event(step, summary=self._summary.scalar(name, value))
        self._board.flush()

    def picture(self, step: int, path: Path) -> None:
        """Write the picture under the name "samples"."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._event(step, summary=self._summary.image("samples", pixels, dataformats="HWC"))
        self._board.flush()

    def close(self) -> None:
        """Close the file of events."""
        self._board.close()

    def _event(self, step: int, **content: Any) -> None:
        self._board.write_event(self._event_of(step=step, wall_time=time.time(), **content))
