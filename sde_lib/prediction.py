"""What a network predicts, and the score it stands for: every type through one pivot, (x0, eps).

A point x = alpha x0 + sigma eps and any one of the predictions determine the pair (x0, eps), and the pair
determines all others: two short functions instead of a converter for each pair of types.
"""

from collections.abc import Callable
from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import AffineSDE, Coefficient, expand

ScoreFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b *d"]]
"""(x [b, ...], t [b]) -> grad_x log p_t(x) [b, ...]."""

NetworkFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b *d"]]
"""(x [b, ...], c_noise [b]) -> prediction [b, ...]."""

PREDICTIONS = ("eps", "x0", "v", "score")


class NoiseLabel(Protocol):
    """How a network is told the noise level: (sde, t [b]) -> c_noise [b]."""

    def __call__(self, sde: AffineSDE, t: Coefficient) -> Coefficient:
        """The label at t."""


NOISE_LABELS: dict[str, NoiseLabel] = {
    "t999": lambda sde, t: 999.0 * t,  # published VP and sub-VP, positional embedding
    "sigma": lambda sde, t: sde.sigma(t),  # published VE, Fourier embedding of log sigma
    "t": lambda sde, t: t,
    "log_snr": lambda sde, t: sde.log_snr(t),
}


def to_x0_eps(
    prediction: str, output: Float[Array, "b *d"], x: Float[Array, "b *d"], alpha: Array, sigma: Array
) -> tuple[Float[Array, "b *d"], Float[Array, "b *d"]]:
    """The pair (x0, eps) that a prediction at x stands for; x0 needs alpha > 0.

    v = alpha eps - sigma x0 (Salimans and Ho 2022, arXiv:2202.00512), solved for any alpha and sigma.
    """
    if prediction == "v":
        total = alpha**2 + sigma**2
        return (alpha * x - sigma * output) / total, (sigma * x + alpha * output) / total
    if prediction == "x0":
        return output, (x - alpha * output) / sigma
    if prediction not in ("eps", "score"):
        raise ValueError(f"prediction is {prediction!r}; allowed are {', '.join(PREDICTIONS)}")
    eps = output if prediction == "eps" else -sigma * output
    return (x - sigma * eps) / alpha, eps


def from_x0_eps(
    prediction: str, x0: Float[Array, "b *d"], eps: Float[Array, "b *d"], alpha: Array, sigma: Array
) -> Float[Array, "b *d"]:
    """The prediction of the given type that stands for the pair (x0, eps)."""
    if prediction == "v":
        return alpha * eps - sigma * x0
    if prediction == "x0":
        return x0
    if prediction not in ("eps", "score"):
        raise ValueError(f"prediction is {prediction!r}; allowed are {', '.join(PREDICTIONS)}")
    return eps if prediction == "eps" else -eps / sigma


def eps_fn(sde: AffineSDE, network: NetworkFn, prediction: str, noise_label: str) -> ScoreFn:
    """(x, t) -> the noise eps that the network finds in x: -sigma times its score, bounded near t = 0."""
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction is {prediction!r}; allowed are {', '.join(PREDICTIONS)}")
    if noise_label not in NOISE_LABELS:
        raise ValueError(f"noise label is {noise_label!r}; allowed are {', '.join(NOISE_LABELS)}")

    def eps(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]:
        output = network(x, NOISE_LABELS[noise_label](sde, t))
        return to_x0_eps(prediction, output, x, expand(sde.alpha(t), x), expand(sde.sigma(t), x))[1]

    return eps


def score_fn(sde: AffineSDE, network: NetworkFn, prediction: str, noise_label: str) -> ScoreFn:
    """The `ScoreFn` of a network, -eps / sigma; one network evaluation a call.

    Raises:
      ValueError: an unknown prediction or noise label, naming the known ones.
    """
    eps = eps_fn(sde, network, prediction, noise_label)

    def score(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]:
        return -eps(x, t) / expand(jnp.maximum(sde.sigma(t), jnp.finfo(x.dtype).tiny), x)

    return score
