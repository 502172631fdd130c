"""What a network predicts, and the score it stands for: every type through one pivot, (x0, eps).

A point x = alpha x0 + sigma eps and any one of the predictions determine the pair (x0, eps), and the pair
determines all others: two short functions instead of a converter for each pair of types. A preconditioning takes the
place of prediction and noise label together.

A network of twice the image's channels predicts a variance too (Nichol and Dhariwal 2021, arXiv:2102.09672): the first
half is the prediction, the second the v of `sde_lib.chain`.
"""

from collections.abc import Callable
from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import AffineSDE, Coefficient, expand
from sde_lib.levels import Levels
from sde_lib.preconditioning import PRECONDITIONINGS, precondition

ScoreFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b *d"]]
"""(x [b, ...], t [b]) -> grad_x log p_t(x) [b, ...]."""

NetworkFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b *d"]]
"""(x [b, ...], c_noise [b]) -> prediction [b, ...]."""

ScoreAndVarianceFn = Callable[
    [Float[Array, "b *d"], Float[Array, " b"]], tuple[Float[Array, "b *d"], Float[Array, "b *d"]]
]
"""(x [b, ...], t [b]) -> the score [b, ...] and the variance output v [b, ...]."""

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
    # published VDM, positional embedding: 0 and 1000 at the ends of the schedule before training
    "gamma": lambda sde, t: (1000.0 / 18.3) * (13.3 - sde.log_snr(t)),
}


class LevelLabel(Protocol):
    """The same for a network trained on n noise levels: (levels, t [b]) -> c_noise [b]."""

    def __call__(self, levels: Levels, t: Coefficient) -> Coefficient:
        """The label at t."""


LEVEL_LABELS: dict[str, LevelLabel] = {
    # published DDPM: the cleanest level is 0; between levels a fraction
    "index": lambda levels, t: levels.sde.level_position(t, levels.n),
    # published SMLD: the noisiest is 0; whole
    "index_down": lambda levels, t: jnp.round(levels.n - 1 - levels.sde.level_position(t, levels.n)),
    # published improved-diffusion, whose default is rescale_timesteps: the index of 1000, however many levels there are
    "index_1000": lambda levels, t: levels.sde.level_position(t, levels.n) * (1000.0 / levels.n),
}


def _unknown(prediction: str) -> ValueError:
    return ValueError(f"prediction is {prediction!r}; allowed are {', '.join(PREDICTIONS)}")


def noise_label_fn(process: AffineSDE | Levels, name: str) -> Callable[[Coefficient], Coefficient]:
    """t -> c_noise by the rule of that name."""
    levels = process if isinstance(process, Levels) else None
    sde = process.sde if isinstance(process, Levels) else process
    if levels is not None and name in LEVEL_LABELS:
        return lambda t: LEVEL_LABELS[name](levels, t)
    if name in LEVEL_LABELS:
        raise ValueError(
            f"noise label is {name!r}, which counts the noise levels of a discretely trained network; in continuous "
            f"time allowed are {', '.join(NOISE_LABELS)}"
        )
    if name not in NOISE_LABELS:
        raise ValueError(f"noise label is {name!r}; allowed are {', '.join((*NOISE_LABELS, *LEVEL_LABELS))}")
    return lambda t: NOISE_LABELS[name](sde, t)


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
        raise _unknown(prediction)
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
        raise _unknown(prediction)
    return eps if prediction == "eps" else -eps / sigma


def halves(output: Float[Array, "b *c"], x: Float[Array, "b *d"]) -> tuple[Array, Array | None]:
    """A network's output at x as prediction and variance output v, None where it has the channels of x alone.

    Raises:
      ValueError: an output that has neither the shape of x nor twice its channels.
    """
    if output.shape == x.shape:
        return output, None
    if output.shape != (*x.shape[:-1], 2 * x.shape[-1]):
        raise ValueError(
            f"the network's output is {output.shape} for an input of {x.shape}; allowed are the same shape, or twice "
            "the channels where it predicts a variance too"
        )
    prediction, v = jnp.split(output, 2, axis=-1)
    return prediction, v


def eps_and_variance_fn(
    process: AffineSDE | Levels, network: NetworkFn, prediction: str, noise_label: str
) -> Callable[[Float[Array, "b *d"], Float[Array, " b"]], tuple[Float[Array, "b *d"], Float[Array, "b *d"] | None]]:
    """(x, t) -> the noise eps that the network finds in x, and its variance output, None where it has none.

    `process` as in `eps_fn`. One network evaluation a call.

    Raises:
      ValueError: an unknown prediction or noise label.
    """
    if prediction not in PREDICTIONS:
        raise _unknown(prediction)
    label = noise_label_fn(process, noise_label)

    def both(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> tuple[Array, Array | None]:
        output, v = halves(network(x, label(t)), x)
        return to_x0_eps(prediction, output, x, expand(process.alpha(t), x), expand(process.sigma(t), x))[1], v

    return both


def eps_fn(
    process: AffineSDE | Levels, network: NetworkFn, prediction: str, noise_label: str, preconditioning: str = "none"
) -> ScoreFn:
    """(x, t) -> the noise eps that the network finds in x: -sigma times its score, bounded near t = 0.

    `process` is the SDE, or its `Levels` where the network was trained on a discrete chain. A `preconditioning` other
    than "none" says what the network predicts and how it is told the noise; the two before it then say nothing.
    """
    if preconditioning != "none":
        if preconditioning not in PRECONDITIONINGS:
            known = ", ".join(("none", *PRECONDITIONINGS))
            raise ValueError(f"preconditioning is {preconditioning!r}; allowed are {known}")
        network = precondition(process, network, PRECONDITIONINGS[preconditioning]())
        prediction, noise_label = "eps", "t"
    both = eps_and_variance_fn(process, network, prediction, noise_label)
    return lambda x, t: both(x, t)[0]


def score_fn(
    process: AffineSDE | Levels, network: NetworkFn, prediction: str, noise_label: str, preconditioning: str = "none"
) -> ScoreFn:
    """The `ScoreFn` of a network, -eps / sigma; one network evaluation a call.

    `process` and `preconditioning` as in `eps_fn`; with `Levels(sde, n)` the sigma is the level's, as in the published
    discrete samplers.

    Raises:
      ValueError: an unknown prediction, noise label or preconditioning, naming the known ones.
    """
    eps = eps_fn(process, network, prediction, noise_label, preconditioning)
    return lambda x, t: _score(process, eps(x, t), x, t)


def score_and_variance_fn(
    process: AffineSDE | Levels, network: NetworkFn, prediction: str, noise_label: str
) -> ScoreAndVarianceFn:
    """The score and the variance output of a network of twice the image's channels; one evaluation a call.

    `process` as in `score_fn`. What the output means is a `variance` of `ChainTables.log_variance`.

    Raises:
      ValueError: an unknown prediction or noise label; when called, a network without a variance output.
    """
    both = eps_and_variance_fn(process, network, prediction, noise_label)

    def score_and_variance(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> tuple[Array, Array]:
        eps, v = both(x, t)
        if v is None:
            raise ValueError(
                "the network predicts no variance, which takes twice the channels of the image; use a fixed one, small "
                "or large"
            )
        return _score(process, eps, x, t), v

    return score_and_variance


def _score(
    process: AffineSDE | Levels, eps: Float[Array, "b *d"], x: Float[Array, "b *d"], t: Coefficient
) -> Float[Array, "b *d"]:
    """-eps / sigma."""
    return -eps / expand(jnp.maximum(process.sigma(t), jnp.finfo(x.dtype).tiny), x)
