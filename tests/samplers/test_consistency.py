"""Sampling with consistency models: the chains of the published codes, with their noise, by jumps and renoising."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
import sde_lib
from samplers.base import sample
from sde_lib import PredictFn, Prediction
from sde_lib.preconditioning import Consistency
from tests.samplers.recorded import noise

FOLDER = Path(__file__).parents[1] / "reference" / "consistency"
OPENAI, ECT = (np.load(FOLDER / f"{name}.npz") for name in ("openai_cm", "ect"))
SDE, KEY = sde_lib.create("edm", sigma_min=0.002, sigma_max=80.0), jax.random.key(0)


def tiny(arrays: Any, prefix: str, scale: float, x: jax.Array, label: jax.Array) -> jax.Array:
    """The README's network, whose label is `scale` times log(sigma) / 4."""
    w1, a, b1, w2, b2 = (jnp.asarray(arrays[f"{prefix}{name}"]) for name in ("W1", "a", "b1", "W2", "b2"))
    hidden = jnp.tanh(x.reshape(len(x), -1) @ w1.T + scale * label[:, None] * a + b1)
    return (hidden @ w2.T + b2).reshape(x.shape)


@pytest.mark.parametrize(("name", "indices"), [("onestep", (0, 5)), ("multistep", (0, 2, 4, 5))])
def test_a_grid_that_ends_at_the_least_noise(name: str, indices: tuple[int, ...], x64) -> None:
    """Their indices are into a grid of 6 points, whose last is the boundary of the map; without their clamp."""
    times = samplers.grids.karras(SDE, 5, SDE.t_min)[np.array(indices)]
    predict = Consistency().predict_fn(SDE, functools.partial(tiny, OPENAI, "net/sampler/", 1000.0))
    z = OPENAI["samplers/noise"]
    with noise([*z[1 : len(times) - 1], np.zeros_like(z[0])]) as left:
        found = sample(samplers.renoise(SDE, predict), KEY, 80.0 * jnp.asarray(z[0]), times)
    assert not left and int(found.evaluations[0]) == len(times) - 1
    # Their last step adds noise of the root of a rounding error, 4e-10.
    np.testing.assert_allclose(found.x, OPENAI[f"samplers/{name}/raw"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "middle"), [("one", ()), ("two", (0.821,)), ("three", (5.0, 0.821))])
def test_a_grid_that_ends_in_data(name: str, middle: tuple[float, ...], x64) -> None:
    """The noise of the next time is added to the denoised image, for which they take the map to sigma 0.003."""
    net = Consistency(sigma_min=0.003).predict_fn(SDE, functools.partial(tiny, ECT, "net/", 1.0))

    def denoised(x: jax.Array, t: jax.Array) -> Prediction:
        x0, eps, _ = net(x, t)
        return Prediction(x0 + 0.003 * eps, eps)

    times = np.array([80.0, *middle, 0.0]) / 80.0
    with noise([*ECT["sampler/noise"][: len(middle)], np.zeros_like(ECT["sampler/latents"])]) as left:
        stepper = samplers.renoise(SDE, PredictFn(SDE, denoised))
        found = sample(stepper, KEY, 80.0 * jnp.asarray(ECT["sampler/latents"]), times)
    assert not left
    np.testing.assert_allclose(found.x, ECT[f"sampler/{name}"], rtol=1e-9, atol=1e-11)
