"""The curves of a run: metrics are read while the devices go ahead, and written as JSON lines and for TensorBoard."""

import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import jax
import numpy as np

from checkpoints.store import Store
from experiment.processes import one_at_a_time, to_host
from experiment.workdir import write_text
from training.devices import Devices
from training.saving import diverged
from training.step import Metrics

IN_FLIGHT = 2  # calls that the host may run ahead of the devices, where they need not go one at a time


class Readings:
    """The metrics of the calls that nobody has read yet; the clock runs from the last reading."""

    def __init__(self, devices: Devices, store: Store, *, step: int, batch_size: int):
        """Begin at a step of a run with batches of so many examples."""
        self._devices, self._store, self._batch_size = devices, store, batch_size
        self._unread: deque[tuple[int, list[Metrics]]] = deque()
        self._ahead = 0 if one_at_a_time() else IN_FLIGHT
        self._read_from = step
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave out of the speed what was done since the last reading."""
        self._began = time.perf_counter()

    def add(self, before: int, metrics: list[Metrics]) -> None:
        """Take the metrics of a call that begins behind the step `before`, and wait for the calls of long ago."""
        self._unread.append((before, metrics))
        if len(self._unread) > self._ahead:
            jax.block_until_ready(self._unread[-1 - self._ahead])

    def read(self, step: int) -> dict[str, float]:
        """Return the mean metrics of the calls since the last reading, up to `step`, and ``images_per_second``.

        Raises:
          Diverged: a number is not finite.
        """
        first, calls = self._unread[0][0], [metrics for _, call in self._unread for metrics in call]
        # All devices have the same ones, since they are averages.
        named = {
            name: np.concatenate([to_host(self._devices.whole(metrics[name])) for metrics in calls]).astype(np.float64)
            for name in calls[0]
        }
        bad = np.flatnonzero(~np.all([np.isfinite(values) for values in named.values()], axis=0))
        if bad.size:
            more = f" and {bad.size - 1} more up to {self._unread[-1][0] + 1}" if bad.size > 1 else ""
            raise diverged(f"loss or gradient not finite at step {first + bad[0] + 1}{more}", self._store)
        self._unread.clear()
        seen, elapsed = (step - self._read_from) * self._batch_size, time.perf_counter() - self._began
        self._read_from = step
        self.restart_clock()
        means = {name: float(np.mean(values)) for name, values in named.items()}
        return {**means, "images_per_second": seen / elapsed}


class Records:
    """Appends to ``metrics.jsonl`` and ``tensorboard/``; what a killed run wrote beyond `start` is taken back."""

    def __init__(self, folder: Path, start: int):
        from tensorboardX import event_file_writer, summary  # slow to import
        from tensorboardX.proto import event_pb2

        self._file = folder / "metrics.jsonl"
        if self._file.exists():
            kept = [line for line in self._file.read_text(errors="replace").splitlines() if _step(line) <= start]
            write_text(self._file, "".join(f"{line}\n" for line in kept))
        (folder / "tensorboard").mkdir(parents=True, exist_ok=True)
        # Not its SummaryWriter, whose thread dies of a full disk, after which the run waits for it for ever.
        self._board = event_file_writer.EventsWriter(str(folder / "tensorboard" / "events"))
        self._event_of, self._scalar = event_pb2.Event, summary.scalar
        if start:
            self._event(start + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
            self._board.flush()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write a record of named numbers at a step."""
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._event(step, summary=self._scalar(name, value))
        self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        self._board.close()

    def _event(self, step: int, **content: Any) -> None:
        self._board.write_event(self._event_of(step=step, wall_time=time.time(), **content))


def _step(line: str) -> float:
    """The step of a line; a line that a kill cut short, or that is damaged otherwise, belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
