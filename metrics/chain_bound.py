"""The variational bound of a discrete chain, term by term, and what it says of coding step by step.

The chain's p(x_0) is bounded for any model of its reverse steps, trained or in closed form: `sde_lib.variational` has
the terms, here they are taken of a batch at every level, one network evaluation each.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from sde_lib import AffineSDE, ChainTables, Model, NoiseLevels, as_prediction
from sde_lib.variational import prior_bits, step_bits

Noise = Callable[[Array], Float[Array, "b *d"]]
"""A function from the level i to the eps of every example at that level."""


class Bound(NamedTuple):
    """-log p(x_0) is at most the `total` in expectation; bits/dim of each example.

    Attributes:
      prior: [b], the KL divergence of the noisiest level from the prior.
      terms: [b, n]; term i is of the step from x_i to x_(i-1), and term 0 is the decoder's.
      x0_mse: [b, n], the mean square error of the x_0 that the model finds in x_i.
      eps_mse: [b, n], the mean square error of the noise that it finds, which is L_simple.
    """

    prior: Float[Array, " b"]
    terms: Float[Array, "b n"]
    x0_mse: Float[Array, "b n"]
    eps_mse: Float[Array, "b n"]

    @property
    def total(self) -> Float[Array, " b"]:
        """The bound: the sum of all terms and the prior's."""
        return self.prior + jnp.sum(self.terms, axis=1)


def normal_noise(keys: Key[Array, " b"], x0: Float[Array, "b *d"]) -> Noise:
    """Standard normal noise, which for each example depends on its own key and the level alone."""

    def noise(i: Array) -> Float[Array, "b *d"]:
        at_level = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
        return jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:], x0.dtype))(at_level)

    return noise


def variational_bound(
    sde: AffineSDE,
    n: int,
    model: Model,
    x0: Float[Array, "b *d"],
    noise: Noise,
    *,
    variance: str = "small",
    half_bin: float | None = None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    clip: tuple[float, float] | None = None,
    decoder: str = "exact",
) -> Bound:
    """The bound of the SDE's n levels with these reverse steps (Ho et al. 2020, arXiv:2006.11239, eq. 5).

    Each example has one noise at each level, and the model is evaluated n times.

    Args:
      model: its predictions or score at the levels' times; a learned `variance` needs its variance output.
      x0: the data, where grey levels are given as the centres of their bins.
      noise: `normal_noise`, or given numbers.
      variance: a name of `sde_lib.VARIANCES`.
      half_bin: half the distance of grey levels, which are decoded by the probability of their bin. None is for
        continuous data, which are decoded by their density; the bound is then on the differential -log p.
      bounds: the first and the last grey level, whose bins are open.
      clip: where the x_0 that the model finds is cut off, in the bound as in the sampler whose steps it is.
      decoder: 'exact', or 'published' for parity with published numbers.

    Raises:
      ValueError: the variance or the decoder is unknown, or the SDE has no levels.
    """
    tables, predict = ChainTables.of(sde, n), as_prediction(NoiseLevels(sde, n), model)
    b = len(x0)

    def at_level(i: Array) -> tuple[Array, Array, Array]:
        index, eps = jnp.full((b,), i), noise(i)
        x = tables.noised(x0, index, eps)
        x0_hat, eps_hat, v = predict(x, jnp.full((b,), sde.level_time(i.astype(x.dtype), n)))
        if clip is not None:
            x0_hat = jnp.clip(x0_hat, *clip)
            eps_hat = (x - tables.row(tables.alpha, index, x) * x0_hat) / tables.row(tables.sigma, index, x)
        log_variance = tables.log_variance(variance, x, index, v)
        options: dict[str, Any] = {"half_bin": half_bin, "bounds": bounds, "decoder": decoder}
        term = step_bits(tables, x0, x, index, x0_hat, log_variance, **options)
        return term, _mean_square(x0_hat - x0), _mean_square(eps_hat - eps)

    columns = jax.lax.map(at_level, jnp.arange(n))
    return Bound(prior_bits(tables, x0, sde.prior_std), *(column.T for column in columns))


def _mean_square(error: Float[Array, "b *d"]) -> Float[Array, " b"]:
    return jnp.mean(jnp.square(error).reshape(len(error), -1), axis=1)


class Curve(NamedTuple):
    """Progressive lossy coding: how well the data are known when so much has been sent.

    Attributes:
      rate: [n + 1], bits/dim sent until x_(n-1), x_(n-2), ..., x_0' and at last the data are known.
      distortion: [n + 1], the root mean square error of the x_0 found in what is known, which ends at 0.
    """

    rate: Float[np.ndarray, " m"]
    distortion: Float[np.ndarray, " m"]


def progressive_coding(
    prior: Float[np.ndarray, " b"], terms: Float[np.ndarray, "b n"], x0_mse: Float[np.ndarray, "b n"], scale: float
) -> Curve:
    """The curve of a `Bound`'s arrays, averaged over examples (Ho et al. 2020, sec. 4.3 and fig. 5); float64.

    `scale` takes an error of x to the units of the distortion, e.g. `autoencoders.GreyLevels.display_scale`.
    """
    sent = np.cumsum([prior.mean(dtype=np.float64), *terms.mean(axis=0, dtype=np.float64)[::-1]])
    distortion = scale * np.sqrt(x0_mse.mean(axis=0, dtype=np.float64)[::-1])
    return Curve(sent, np.append(distortion, 0.0))
