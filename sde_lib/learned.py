"""The variance-preserving process with a learned noise schedule (Kingma et al. 2021, arXiv:2107.00630, App. H).

    alpha^2 = sigmoid(-gamma(t)),   sigma^2 = sigmoid(gamma(t)),   log SNR = -gamma(t),

with gamma rising for every value of its parameters: a monotone network of t, one linear layer and one hidden layer of
K features beside it, all coefficients positive, rescaled to its two ends,

    gamma(t) = gamma_min + (gamma_max - gamma_min) (u(t) - u(0)) / (u(1) - u(0)),
    u(t) = w_1 t + 1/K sum_k w_3k sigmoid(w_2k t + b_k).

The variational bound in continuous time depends on gamma through its two ends alone (eq. 18); what lies between them
says how much noise the bound's estimate has.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid, softplus
from jaxtyping import Array

from limits import Flag, Number, Range, check, whole
from sde_lib.base import AffineSDE, Coefficient, Kernel

INTERIOR = ("l1", "l2", "bias", "l3")
GAMMAS: dict[str, Range] = {
    "gamma_min": Number(-80.0, 80.0, note="published: -13.3"),
    "gamma_max": Number(-80.0, 80.0, note="published: 5"),
    "features": whole(0, 2**20, note="published: 1024; 0 is a linear gamma"),
    "learned": Flag(),
}
STEEPNESS = 20.0  # of a feature at first: it rises over a fifth of the time


@functools.partial(jax.tree_util.register_dataclass, data_fields=["numbers"], meta_fields=["learned", "t_min"])
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedVP(AffineSDE):
    """VP by its negative log SNR, gamma(t). A pytree of its parameters: an argument of a jitted function or a constant.

    A network that sees it trained is one for this process alone; samplers whose tables are made on the host need its
    numbers concrete (`with_parameters` outside jit). Equal only to itself.

    Attributes:
      numbers: gamma_min and gamma_range, and with K > 0 features l1 [], l2 [K], bias [K], l3 [K]; what must be positive
        is the softplus of its number. In training the latter four may have an axis of examples in front, for t [b].
      learned: False: the numbers stay as they are.
    """

    numbers: dict[str, Any]
    learned: bool = True

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def parameters(self) -> dict[str, Array]:
        """The numbers, float32, where they are trained; else none."""
        return {name: jnp.asarray(value, jnp.float32) for name, value in self.numbers.items()} if self.learned else {}

    @property
    def interior(self) -> tuple[str, ...]:
        """The parameters between the ends, which the bound in continuous time does not depend on."""
        return tuple(name for name in INTERIOR if self.learned and name in self.numbers)

    def with_parameters(self, parameters: dict[str, Any]) -> "LearnedVP":
        """The process of other numbers."""
        return dataclasses.replace(self, numbers=dict(parameters)) if self.learned else self

    def _number(self, name: str, t: Coefficient) -> Array:
        return jnp.asarray(self.numbers[name], jnp.result_type(t))

    def _rise(self, s: Coefficient, t: Coefficient) -> Array:
        """u(t) - u(s), exact also for t close to s: sigmoid(b) - sigmoid(a) = sigmoid(a) sigmoid(-b) (e^(b-a) - 1)."""
        w1, w2, w3 = (softplus(self._number(name, t)) for name in ("l1", "l2", "l3"))
        bias, s, t = self._number("bias", t), jnp.asarray(s), jnp.asarray(t)
        a, b = w2 * s[..., None] + bias, w2 * t[..., None] + bias
        step = w2 * (t - s)[..., None]
        # From the saturated side the product would be infinity times 0.
        near = step < 1.0
        rise = sigmoid(a) * sigmoid(-b) * jnp.expm1(jnp.where(near, step, 0.0))
        return w1 * (t - s) + jnp.mean(w3 * jnp.where(near, rise, sigmoid(b) - sigmoid(a)), axis=-1)

    def _between(self, s: Coefficient, t: Coefficient) -> Array:
        """(u(t) - u(s)) / (u(1) - u(0))."""
        if "l1" not in self.numbers:
            return jnp.asarray(t) - s
        return self._rise(s, t) / self._rise(jnp.zeros_like(t), jnp.ones_like(t))

    def gamma_difference(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """gamma(t) - gamma(s), exact also for t close to s."""
        return softplus(self._number("gamma_range", t)) * self._between(s, t)

    def gamma(self, t: Coefficient) -> Coefficient:
        """-log SNR(t), rising from gamma_min to gamma_max."""
        return self._number("gamma_min", t) + self.gamma_difference(jnp.zeros_like(t), t)

    def rate(self, t: Coefficient) -> Coefficient:
        """d gamma / dt = g^2 / sigma^2 > 0."""
        span = softplus(self._number("gamma_range", t))
        if "l1" not in self.numbers:
            return span * jnp.ones_like(t)
        w1, w2, w3 = (softplus(self._number(name, t)) for name in ("l1", "l2", "l3"))
        a = w2 * jnp.asarray(t)[..., None] + self._number("bias", t)
        slope = w1 + jnp.mean(w3 * w2 * sigmoid(a) * sigmoid(-a), axis=-1)
        return span * slope / self._rise(jnp.zeros_like(t), jnp.ones_like(t))

    def alpha(self, t: Coefficient) -> Coefficient:
        """sqrt(sigmoid(-gamma))."""
        return jnp.exp(-0.5 * softplus(self.gamma(t)))

    def sigma(self, t: Coefficient) -> Coefficient:
        """sqrt(sigmoid(gamma))."""
        return jnp.exp(-0.5 * softplus(-self.gamma(t)))

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """-gamma' alpha sigma^2 / 2 and gamma' alpha^2 sigma / 2."""
        half, alpha, sigma = 0.5 * self.rate(t), self.alpha(t), self.sigma(t)
        return -half * alpha * sigma**2, half * alpha**2 * sigma

    def drift_coefficient(self, t: Coefficient) -> Coefficient:
        """-gamma' sigma^2 / 2."""
        return -0.5 * self.rate(t) * sigmoid(self.gamma(t))

    def diffusion(self, t: Coefficient) -> Coefficient:
        """sqrt(gamma' sigma^2)."""
        return jnp.sqrt(self.rate(t)) * self.sigma(t)

    @property
    def prior_std(self) -> float:
        """1."""
        return 1.0

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """With d = gamma(t) - gamma(s): scale^2 = 1 / (1 + sigma_s^2 (e^d - 1)), std^2 = sigma_t^2 (1 - e^-d)."""
        d = self.gamma_difference(s, t)
        scale = jnp.exp(-0.5 * jnp.log1p(sigmoid(self.gamma(s)) * jnp.expm1(d)))
        # SNR_t / SNR_s = e^-d, hence sigma_s / sigma_t = e^(-d / 2) / scale.
        return Kernel(scale, self.sigma(t) * jnp.sqrt(-jnp.expm1(-d)), jnp.exp(-0.5 * d) / scale)

    def log_snr(self, t: Coefficient) -> Coefficient:
        """-gamma(t)."""
        return -self.gamma(t)


def _raw(positive: np.ndarray | float) -> np.ndarray:
    """The number whose softplus is the given one."""
    value = np.asarray(positive, np.float64)
    return np.asarray(value + np.log(-np.expm1(-value)))


def learned_vp(
    *,
    gamma_min: float = -13.3,
    gamma_max: float = 5.0,
    features: int = 1024,
    learned: bool = True,
    t_min: float = 1e-5,
) -> LearnedVP:
    """The process before training: gamma linear in t, to within 1e-3 of its range (exactly with no features).

    `features` 0 leaves only the ends to be learned (the paper's App. D, "learnable scalar"); with `learned` False as
    well it is the fixed linear schedule. The features rise one after another, evenly spread beyond both ends of time.

    Raises:
      ValueError: gamma_min not below gamma_max, or features that are neither 0 nor at least 16.
    """
    given = {"gamma_min": gamma_min, "gamma_max": gamma_max, "features": features, "learned": learned}
    check("sde.", given, GAMMAS)
    if gamma_min >= gamma_max:
        raise ValueError(
            f"sde: gamma_min {gamma_min}, gamma_max {gamma_max}; needed is gamma_min < gamma_max (published: -13.3, 5)"
        )
    if features != 0 and features < 16:
        raise ValueError(f"sde: features {features}; needed are 16 or more (published: 1024), or 0 for a linear gamma")
    numbers = {"gamma_min": np.asarray(gamma_min), "gamma_range": _raw(gamma_max - gamma_min)}
    if features:
        centres = 2.0 * (np.arange(features) + 0.5) / features - 0.5
        numbers |= {
            "l1": _raw(1.0),
            "l2": np.full(features, _raw(STEEPNESS)),
            "bias": -STEEPNESS * centres,
            "l3": np.full(features, _raw(1.0)),
        }
    return LearnedVP(numbers, learned=learned, t_min=t_min)
