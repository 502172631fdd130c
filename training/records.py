"""The curves of a run: one JSON line a record, and the same for TensorBoard."""

import json
import time
from pathlib import Path
from typing import Any

from experiment.workdir import write_text


class Records:
    """Appends to ``metrics.jsonl`` and ``tensorboard/``; what a killed run wrote beyond `start` is taken back."""

    def __init__(self, folder: Path, start: int):
        from tensorboardX.event_file_writer import EventsWriter  # slow to import
        from tensorboardX.proto.event_pb2 import SessionLog

        self._file = folder / "metrics.jsonl"
        if self._file.exists():
            kept = [line for line in self._file.read_text(errors="replace").splitlines() if _step(line) <= start]
            write_text(self._file, "".join(f"{line}\n" for line in kept))
        (folder / "tensorboard").mkdir(parents=True, exist_ok=True)
        # Not its SummaryWriter, whose thread dies of a full disk, after which the run waits for it for ever.
        self._board = EventsWriter(str(folder / "tensorboard" / "events"))
        if start:
            self._event(start + 1, session_log=SessionLog(status=SessionLog.START))
            self._board.flush()

    def write(self, step: int, values: dict[str, float]) -> None:
        """One record of named numbers at a step."""
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._event(step, summary=scalar(name, value))
        self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        self._board.close()

    def _event(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._board.write_event(Event(step=step, wall_time=time.time(), **content))


def _step(line: str) -> float:
    """The step of a line; a line that a kill cut short, or that is damaged otherwise, belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
