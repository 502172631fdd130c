"""Between two images by way of their latents under the probability flow."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from samplers.ode import decode, encode
from sde_lib.base import AffineSDE, expand
from sde_lib.prediction import Model


class Interpolation(NamedTuple):
    """Images [n, b, ...], one for each fraction; evaluations [b] for all of a pair; whether each met the tolerance."""

    x: Float[Array, "n b *d"]
    evaluations: Int[Array, " b"]
    converged: Bool[Array, "n b"]


def slerp(a: Float[Array, "b *d"], b: Float[Array, "b *d"], fraction: float) -> Float[Array, "b *d"]:
    """(sin((1 - f) angle) a + sin(f angle) b) / sin(angle), example by example; straight where a and b are parallel.

    Shoemake 1985, with a and b of any length: Gaussian latents keep their typical length on the way, which on the
    straight line falls to 1 / sqrt(2) of it. The scale of the latents, that of the prior, drops out.
    """
    u, v = (z.reshape(len(z), -1) for z in (a, b))
    u, v = (z / jnp.maximum(jnp.linalg.norm(z, axis=1, keepdims=True), jnp.finfo(z.dtype).tiny) for z in (u, v))
    # Kahan's angle, which does not lose digits near 0 and pi as arccos does.
    angle = 2.0 * jnp.arctan2(jnp.linalg.norm(u - v, axis=1), jnp.linalg.norm(u + v, axis=1))
    sine = jnp.sin(angle)
    parallel = sine < 1e-6
    shares = [
        jnp.where(parallel, f, jnp.sin(f * angle) / jnp.where(parallel, 1.0, sine)) for f in (1.0 - fraction, fraction)
    ]
    return expand(shares[0], a) * a + expand(shares[1], b) * b


def interpolate(
    sde: AffineSDE,
    model: Model,
    a: Float[Array, "b *d"],
    b: Float[Array, "b *d"],
    fractions: Sequence[float],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Interpolation:
    """Images between a and b: their latents (`samplers.encode`), `slerp` between these, and back (`samplers.decode`).

    Song et al. 2021, App. D; Song et al. 2021 (arXiv:2010.02502, sec. 5.3). Any SDE. Fractions 0 and 1 give a and b
    again, as closely as the tolerance. An image whose solution did not meet the tolerance is NaN. Jit it over a and b.

    Raises:
      ValueError: images of different shapes, no fraction, one outside [0, 1], or a tolerance that is not positive.
    """
    places = np.asarray(fractions, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"interpolate: images of shape {a.shape} and {b.shape}; they must be the same")
    if places.ndim != 1 or not len(places) or not 0.0 <= places.min() <= places.max() <= 1.0:
        raise ValueError(f"interpolate: fractions are {fractions}; needed are one or more, from 0 (a) to 1 (b)")
    n, size = len(places), len(a)
    ends = encode(sde, model, jnp.concatenate([a, b]), rtol=rtol, atol=atol)
    z = jnp.concatenate([slerp(ends.x[:size], ends.x[size:], float(f)) for f in places])
    flow = decode(sde, model, z, rtol=rtol, atol=atol)
    encoded = ends.converged[:size] & ends.converged[size:]
    converged = flow.converged.reshape(n, size) & encoded
    x = flow.x.reshape(n, *a.shape)
    x = jnp.where(converged.reshape(n, size, *[1] * (a.ndim - 1)), x, jnp.nan)
    evaluations = ends.evaluations.reshape(2, size).sum(0) + flow.evaluations.reshape(n, size).sum(0)
    return Interpolation(x, evaluations, converged)
