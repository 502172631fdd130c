"""What a network outputs and how it is told the noise: from a network to the predictions that it stands for.

A `Parameterization` holds both, as one object: a prediction type with a noise label (`Plain`), or one of Karras et
al.'s preconditionings (`sde_lib.preconditioning`).
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import AffineSDE, Coefficient, Process, expand
from sde_lib.noise_levels import NoiseLevels
from sde_lib.preconditioning import PRECONDITIONINGS
from sde_lib.prediction import NetworkFn, PredictFn, Prediction, before_noise, halves, of_eps, of_x0


@runtime_checkable
class Parameterization(Protocol):
    """How a network's output is to be read, and whether it is told where a jump ends."""

    @property
    def told_end(self) -> bool:
        """Whether it is, as a third argument."""

    def predict_fn(self, process: AffineSDE | NoiseLevels, network: NetworkFn) -> PredictFn:
        """The predictions of the network along the process; one network evaluation a call."""


Image = Float[Array, "b *d"]
Reading = Callable[[Process, Image, Coefficient, Image, Image | None], Prediction]
"""(process, x, t, output, variance output) -> the prediction."""


def _v(process: Process, x: Image, t: Coefficient, output: Image, variance: Image | None = None) -> Prediction:
    """v = alpha eps - sigma x0 (Salimans and Ho 2022, arXiv:2202.00512), solved for any alpha and sigma."""
    alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
    total = alpha**2 + sigma**2
    return Prediction((alpha * x - sigma * output) / total, (sigma * x + alpha * output) / total, variance)


def _velocity(process: Process, x: Image, t: Coefficient, output: Image, variance: Image | None = None) -> Prediction:
    """u = alpha' x0 + sigma' eps, the velocity of the flow (Lipman et al. 2022, arXiv:2210.02747), solved with x."""
    alpha, sigma, *rates = (expand(c, x) for c in (process.alpha(t), process.sigma(t), *process.rates(t)))
    alpha_rate, sigma_rate = rates
    det = alpha * sigma_rate - alpha_rate * sigma
    x0, eps = (sigma_rate * x - sigma * output) / det, (alpha * output - alpha_rate * x) / det
    return Prediction(x0, eps, variance)


def _score(process: Process, x: Image, t: Coefficient, output: Image, variance: Image | None = None) -> Prediction:
    return of_eps(process, x, t, -expand(process.sigma(t), x) * output, variance)


PREDICTIONS: dict[str, Reading] = {"eps": of_eps, "x0": of_x0, "v": _v, "velocity": _velocity, "score": _score}
"""What a network may predict. Of "eps" and "score" nothing is known of x0 where alpha is 0."""
BLIND_TO_NOISE = ("eps", "score")

OUTPUTS: dict[str, Callable[[Process, Coefficient], tuple[Coefficient, Coefficient]]] = {
    "eps": lambda process, t: (jnp.zeros_like(t), jnp.ones_like(t)),
    "score": lambda process, t: (jnp.zeros_like(t), -1.0 / process.sigma(t)),
    "x0": lambda process, t: (jnp.ones_like(t), jnp.zeros_like(t)),
    "v": lambda process, t: (-process.sigma(t), process.alpha(t)),
    "velocity": lambda process, t: process.rates(t),
}
"""The other way round: (process, t) -> a and b of the output a x0 + b eps of a network that predicts that."""


END_LABEL = 999.0
"""A network that is told where a jump ends is told its length as this times t - s, whatever its noise label."""

NOISE_LABELS: dict[str, Callable[[AffineSDE, Coefficient], Coefficient]] = {
    "t999": lambda sde, t: 999.0 * t,  # published VP and sub-VP, positional embedding
    "sigma": lambda sde, t: sde.sigma(t),  # published VE, Fourier embedding of log sigma
    "t": lambda sde, t: t,
    "log_snr": lambda sde, t: sde.log_snr(t),
    # published VDM, positional embedding: 0 and 1000 at the ends of the schedule before training
    "gamma": lambda sde, t: (1000.0 / 18.3) * (13.3 - sde.log_snr(t)),
}
"""How a network is told the noise level: (sde, t [b]) -> c_noise [b]."""


LEVEL_LABELS: dict[str, Callable[[NoiseLevels, Coefficient], Coefficient]] = {
    # published DDPM: the cleanest level is 0; between levels a fraction
    "index": lambda levels, t: levels.position(t),
    # published SMLD: the noisiest is 0; whole
    "index_down": lambda levels, t: jnp.round(levels.n - 1 - levels.position(t)),
    # published improved-diffusion, whose default is rescale_timesteps: the index of 1000, however many levels there are
    "index_1000": lambda levels, t: levels.position(t) * (1000.0 / levels.n),
}
"""How a network that was trained on n noise levels is told which it is: (levels, t [b]) -> c_noise [b]."""


def noise_label_fn(process: AffineSDE | NoiseLevels, name: str) -> Callable[[Coefficient], Coefficient]:
    """t -> c_noise by the rule of that name.

    Raises:
      ValueError: an unknown name, or one that counts levels for a process in continuous time.
    """
    levels = process if isinstance(process, NoiseLevels) else None
    sde = process.sde if isinstance(process, NoiseLevels) else process
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


@dataclasses.dataclass(frozen=True)
class Plain:
    """A network that is shown x as it is.

    Attributes:
      prediction: what it outputs, a name of PREDICTIONS.
      noise_label: how it is told the noise, a name of NOISE_LABELS or, on the levels of a chain, of LEVEL_LABELS.
      told_end: whether it is told where a jump ends, its length times `END_LABEL` as a third argument.

    A network of twice the channels of x predicts a variance in the second half.

    Raises:
      ValueError: an unknown prediction; from `predict_fn` an unknown noise label.
    """

    prediction: str = "eps"
    noise_label: str = "t999"
    told_end: bool = False

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise ValueError(f"prediction is {self.prediction!r}; allowed are {', '.join(PREDICTIONS)}")

    def predict_fn(self, process: AffineSDE | NoiseLevels, network: NetworkFn) -> PredictFn:
        """The network's predictions; where alpha is 0 one that predicts eps is asked at `NEARLY_NOISE`."""
        read, label = PREDICTIONS[self.prediction], noise_label_fn(process, self.noise_label)

        def function(x: Image, t: Float[Array, " b"], *s: Float[Array, " b"]) -> Prediction:
            t = before_noise(process, t) if self.prediction in BLIND_TO_NOISE else t
            end = [END_LABEL * (t - each) for each in s]
            return read(process, x, t, *halves(network(x, label(t), *end), x))

        return PredictFn(process, function, self.told_end)


def parameterization(
    prediction: str = "eps", noise_label: str = "t999", preconditioning: str = "none", told_end: bool = False
) -> Parameterization:
    """The parameterization that a config names: a preconditioning, or with "none" the others.

    Raises:
      ValueError: an unknown name, naming the known ones; a network inside a preconditioning that is told an end.
    """
    if preconditioning == "none":
        return Plain(prediction, noise_label, told_end)
    if told_end:
        raise ValueError(
            f"model.told_end is True and preconditioning {preconditioning!r}; a network that is told where a jump ends "
            "is for preconditioning 'none'"
        )
    if preconditioning not in PRECONDITIONINGS:
        known = ", ".join(("none", *PRECONDITIONINGS))
        raise ValueError(f"preconditioning is {preconditioning!r}; allowed are {known}")
    return PRECONDITIONINGS[preconditioning]()
