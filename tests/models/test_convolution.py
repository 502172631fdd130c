"""The 3x3 convolution and its derivatives against XLA's own, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from models.convolution import convolve
from models.materialize import materialized, network_jit

# batch, height, width, channels in and out; the last two have fewer pixels than channels
SHAPES = [(2, 6, 5, 4, 3), (3, 4, 4, 2, 5), (1, 3, 3, 4, 64), (2, 2, 2, 4, 64)]


def xla(x, kernel, pad):
    return lax.conv_general_dilated(x, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def draw(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).standard_normal(shape))


@pytest.mark.parametrize(
    "b, h, w, c, d, pad", [(*shape, pad) for shape in SHAPES for pad in (0, 1, 2) if shape[1] + 2 * pad > 2]
)
@pytest.mark.usefixtures("x64")
def test_values_and_derivatives_are_xlas(b, h, w, c, d, pad):
    x, kernel = draw(b, h, w, c), draw(3, 3, c, d)
    dx, dkernel = x[::-1] + 1, kernel[::-1] - 1

    def all_of(function):
        y, pull = jax.vjp(lambda x, kernel: function(x, kernel, pad), x, kernel)
        forward = [
            jax.jvp(lambda x: function(x, kernel, pad), (x,), (dx,))[1],
            jax.jvp(lambda kernel: function(x, kernel, pad), (kernel,), (dkernel,))[1],
        ]
        return [y, *pull(jnp.cos(y)), *forward]

    for got, wanted in zip(jax.jit(all_of, static_argnums=0)(convolve), all_of(xla), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("x64")
def test_a_gradient_for_each_example_by_vmap():
    x, kernel = draw(3, 5, 4, 6), draw(3, 3, 6, 5)

    def each(function):
        def loss(kernel, x):
            return jnp.sum(jnp.sin(function(x[None], kernel, 1)))

        return jax.vmap(jax.grad(loss), (None, 0))(kernel, x)

    np.testing.assert_allclose(each(convolve), each(xla), rtol=1e-11, atol=1e-11)


def test_xla_heeds_what_is_to_be_kept():
    """Should a later XLA name its pass differently, this says so; the training step would be slower, not wrong."""

    def twice(x):
        y = materialized(jnp.exp(x) + 1)
        return y.T @ x, y.sum(0)

    program = network_jit(twice).lower(jnp.ones((8, 4))).compile()
    assert "opt-barrier" in program.as_text()
    assert "opt-barrier" not in jax.jit(twice).lower(jnp.ones((8, 4))).compile().as_text()
