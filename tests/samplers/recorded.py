"""Feeding recorded noise to the steppers, which otherwise draw their own."""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import pytest

STOCHASTIC = ("euler_maruyama", "reverse_diffusion", "ancestral", "langevin")


@contextmanager
def noise(draws: Iterable) -> Iterator[list]:
    """Within, each call of `normal_like` takes the next recorded draw; loops run as Python, in their written order."""
    left = list(draws)

    def take(key: jax.Array, x: jax.Array) -> jax.Array:
        z = jnp.asarray(left.pop(0), x.dtype)
        assert z.shape == x.shape
        return z

    with pytest.MonkeyPatch.context() as patch, jax.disable_jit():
        for name in STOCHASTIC:
            patch.setattr(importlib.import_module(f"samplers.{name}"), "normal_like", take)
        yield left
