"""The numbers of a training are read while the devices go ahead; `training.trackers` are what they are told to."""

import time
from collections import deque

import jax
import numpy as np

from checkpoints.store import Store
from experiment.processes import one_at_a_time, to_host
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
