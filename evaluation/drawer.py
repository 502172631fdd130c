"""The sampler of a run, compiled once and spread over the devices; it times every batch that it draws."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from evaluation.devices import on_devices, on_each
from experiment import Experiment, Failure
from experiment.progress import waiting
from experiment.sampling import keys_of_batch, sampler
from models.materialize import network_jit


class Drawn(NamedTuple):
    """What one call of a compiled sampler gave: encoded x [b, ...], evaluations [b], and seconds without compiling.

    The seconds run from the call, or from the end of the call before where that was later, until the host sees the
    samples on the device. Those of all calls add up to the time they took, whatever the host did meanwhile.
    """

    x: np.ndarray
    evaluations: np.ndarray
    seconds: float


class Drawer:
    """The sampler of one method, compiled once: batch i of a key is the same whoever draws it."""

    def __init__(self, experiment: Experiment, variables: dict, method: str, batch_size: int):
        self.variables, self.method = on_each(variables, batch_size), method
        shape, sde = (batch_size, *experiment.codec.shape), experiment.process(variables)
        self._start = jax.jit(lambda key: experiment.sde.prior_sample(key, shape))
        self._sampler = network_jit(lambda v, key, z, labels: sampler(experiment, v, method, sde, labels)(key, z))
        self._labels = lambda i: experiment.labels(i * batch_size, batch_size)
        self._remedy = experiment.settings_of(method).remedy
        self._compiled, self._free = None, 0.0

    def draw(self, key: jax.Array, i: int) -> Drawn:
        """Draw batch i."""
        return self.fetch(self.start(key, i))

    def start(self, key: jax.Array, i: int) -> tuple[float, Any]:
        """Begin batch i for `fetch`. The host need not wait for it, and the next may begin before it is fetched."""
        key_prior, key_path = keys_of_batch(key, i)
        z = on_devices(self._start(key_prior))
        arguments = self.variables, key_path, z, jax.tree.map(on_devices, self._labels(i))
        if self._compiled is None:
            with waiting(f"compiling {self.method}"):
                self._compiled = self._sampler.lower(*arguments).compile()
        return time.perf_counter(), self._compiled(*arguments)

    def fetch(self, started: tuple[float, Any]) -> Drawn:
        """The batch that was begun; batches are fetched in the order in which they were begun.

        Raises:
          Failure: a sample is not finite.
        """
        began, out = started
        jax.block_until_ready(out)
        ended = time.perf_counter()
        seconds, self._free = ended - max(began, self._free), ended
        x = np.asarray(out.x)
        if not np.isfinite(x).all():
            raise Failure(f"samples of {self.method} are not finite; {self._remedy}")
        return Drawn(x, np.asarray(out.evaluations), seconds)
