"""Losses at given times and noise, of a model that is given as a function, and the times that a loss draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from training.draws import Draws
from training.examples import Examples
from training.losses.base import NoisedLoss


class Given(NamedTuple):
    """A model that predicts by this function, whatever its weights are."""

    predict: Callable[[jax.Array, jax.Array], Any]

    def predict_fn(self, process: Any, params: Any = None) -> Callable:
        return self.predict


def losses_at(loss: NoisedLoss, predict: Callable, x0: jax.Array, t: jax.Array, eps: jax.Array) -> jax.Array:
    """The loss of each example."""
    return loss.at(Given(predict), Examples(x0, {}, None), t, eps)["loss"]


def draws(key: jax.Array, n: int) -> Draws:
    """Those of a whole batch of n examples."""
    return Draws.of(key, jnp.arange(n), n)
