"""Noise levels as feature vectors: sines and cosines of fixed frequencies."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import Keys


class Fixed(nnx.Variable):
    """A value a network carries but never trains."""


def positional(
    labels: Float[Array, " b"], features: int, *, fastest: float = 1.0, adm: bool = False
) -> Float[Array, "b e"]:
    """Sines, then cosines, of labels times fastest * 10000^(-k / (features/2 - 1)) (Vaswani et al. 2017, as in DDPM).

    Labels are those of the paper: 0 to 999, whole or not. `fastest` is the highest frequency in radians a label.
    With `adm`, as Nichol and Dhariwal 2021 and all who follow them: cosines first, 10000^(-k / (features/2)).
    """
    half = features // 2
    exponents = jnp.arange(half, dtype=labels.dtype) / (half - (not adm))
    angles = labels[:, None] * (fastest * jnp.exp(-math.log(10000.0) * exponents))
    waves = [jnp.sin(angles), jnp.cos(angles)]
    return jnp.concatenate(waves[::-1] if adm else waves, axis=-1)


def sigma_of_level(
    level: Float[Array, " b"], sigma_min: float, sigma_max: float, num_scales: int
) -> Float[Array, " b"]:
    """The noise level of each index, 0 the noisiest: sigma_max (sigma_min / sigma_max)^(level / (num_scales - 1))."""
    return sigma_max * (sigma_min / sigma_max) ** (level / (num_scales - 1))


def image_fourier(x: Float[Array, "b *d c"], exponents: Sequence[int]) -> Float[Array, "b *d e"]:
    """x, then sines and cosines of 2 pi 2^n x for each exponent n, in its last axis (Kingma et al. 2021, App. C).

    They tell neighbouring grey levels apart, which differ by 2 / (L - 1): published for 256 levels are n = 6 and 7.
    """
    angles = [2.0 * math.pi * 2.0**n * x for n in exponents]
    return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)


class Fourier(nnx.Module):
    """Sines, then cosines, of 2 pi W log(sigma) with W ~ N(0, scale^2) drawn once (Tancik et al. 2020)."""

    def __init__(self, frequencies: int, scale: float, *, rngs: nnx.Rngs | Keys):
        self.frequencies = Fixed(scale * jax.random.normal(rngs.params(), (frequencies,)))

    def __call__(self, sigma: Float[Array, " b"]) -> Float[Array, "b e"]:
        """Embed noise levels sigma > 0 in 2 * frequencies features."""
        return self.of_log(jnp.log(sigma))

    def of_log(self, log_sigma: Float[Array, " b"]) -> Float[Array, "b e"]:
        """The same of what is a logarithm already."""
        angles = 2 * math.pi * log_sigma[:, None] * self.frequencies[...]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
