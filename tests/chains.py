"""Data of two positions whose every state can be listed: their exact denoiser, their entropy, a model's likelihood."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from sde_lib.categorical import CategoricalProcess
from sde_lib.categorical_prediction import BeliefFn


def slow_but(quick: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """The parameters of a test, all slow but the quick ones."""
    kept = list(quick)
    return [value if value in kept else pytest.param(value, marks=pytest.mark.slow) for value in values]


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A distribution of two positions of K categories, [K, K], that are not independent."""

    p: np.ndarray

    @classmethod
    def random(cls, categories: int = 3, seed: int = 0, positions: int = 2) -> "Pair":
        logits = 1.5 * np.random.default_rng(seed).standard_normal((categories,) * positions)
        p = np.exp(logits)
        return cls(p / p.sum())

    @property
    def points(self) -> Array:
        """All values, [K^2, 2], in the order of ``p.ravel()``."""
        return jnp.asarray(list(itertools.product(*map(range, self.p.shape))), jnp.int32)

    def denoiser(self, process: CategoricalProcess):
        """log p(x_0 | x_t) of each position, exactly."""

        def logits(x: Array, t: Array) -> Array:
            likelihood = process.likelihood(x, t)
            joint = jnp.asarray(self.p, likelihood.dtype)[None]
            for i in range(self.p.ndim):
                shape = [len(x), *[1] * self.p.ndim]
                shape[i + 1] = -1
                joint = joint * likelihood[:, i].reshape(shape)
            axes = range(1, self.p.ndim + 1)
            each = [jnp.sum(joint, axis=tuple(a for a in axes if a != i)) for i in axes]
            return jnp.log(jnp.maximum(jnp.stack(each, axis=1), jnp.finfo(likelihood.dtype).tiny))

        return logits


def states(process: CategoricalProcess, positions: int = 2) -> Array:
    """Every state of so many positions, [states^positions, positions]."""
    return jnp.asarray(list(itertools.product(range(process.states), repeat=positions)), jnp.int32)


def all_pairs(process: CategoricalProcess, x0: Array) -> tuple[Array, Array]:
    """Every x_0 with every state x: both [n, positions]."""
    x = states(process, x0.shape[1])
    return jnp.repeat(x0, len(x), axis=0), jnp.tile(x, (len(x0), 1))


def probability(weights: Array, x: Array) -> Array:
    """The product over positions of the probabilities of x, [b]."""
    return jnp.prod(jnp.take_along_axis(weights, x[..., None], axis=-1)[..., 0], axis=1)


def sampled_distribution(
    process: CategoricalProcess, belief: BeliefFn, times: np.ndarray, positions: int
) -> np.ndarray:
    """What the ancestral sampler's samples have, exactly: by all transitions between all states along the grid."""
    x = states(process, positions)

    @jax.jit
    def run(times: Array) -> Array:
        def step(now: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
            t, s = row
            each = belief.stepped(x, s, jnp.full(len(x), t))
            each = each / jnp.sum(each, axis=-1, keepdims=True)
            matrix = jnp.ones((len(x), len(x)))
            for i in range(positions):
                matrix = matrix * each[:, i, :][:, x[:, i]]
            return now @ matrix, None

        prior = probability(jnp.broadcast_to(process.prior(), (*x.shape, process.states)), x)
        return jax.lax.scan(step, prior, (times[:-1], times[1:]))[0]

    shape = (process.states,) * positions
    return np.asarray(run(jnp.asarray(times))).reshape(shape)[(slice(0, process.categories),) * positions]
