"""Denoising score matching (Vincent 2011; Song et al. 2021, arXiv:2011.13456, eq. 7) as three independent choices.

For x_t = alpha x_0 + sigma eps the score of p(x_t | x_0) is -eps / sigma, so every loss of this family is

    E_t  w(t)  E_(x_0, eps) |eps_hat(x_t, t) - eps|^2

whatever the network predicts: how t is drawn (`training.times`), what an error at t counts (`training.weights`), and
whether the numbers of an image are averaged or added up. The published ones by these names:

    L_simple (Ho et al. 2020), weight sigma^2 (Song et al. 2021):  time_sampling uniform, weight uniform
    EDM (Karras et al. 2022, arXiv:2206.00364, table 1):           time_sampling lognormal, weight edm
    a bound on the likelihood (Song et al. 2021b, Theorem 1):      time_sampling uniform, weight likelihood

Since g^2 / sigma^2 = -d/dt log SNR, drawing t uniformly in log SNR turns the likelihood's weight into a constant: that
is the importance sampling of Song et al. 2021b (arXiv:2101.09258, App. B), here for every affine SDE at once.

With `num_scales` = n, t takes the n values of a discrete chain, each as often, and alpha, sigma are the chain's. With
weight uniform that is the loss of DDPM (Ho et al. 2020, eq. 14) for VP and of SMLD (Song and Ermon 2019, eq. 6) for VE.
Levels may be drawn by their losses too (`training.importance`), and the bound be trained: of the levels'
(`training.hybrid`) or, with a learned noise schedule, of continuous time (`training.vdm`). A classifier of noisy data
has its own loss at the same times (`training.classification`).
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from experiment.ranges import of_section
from limits import check
from sde_lib import AffineSDE, Levels, PredictFn, expand
from sde_lib.bound import bound_times
from training import hybrid, times, vdm
from training.importance import LossHistory
from training.times import TIMES
from training.weights import WEIGHTS, options_of


@dataclasses.dataclass(frozen=True)
class Objective:
    """The training loss of a batch; pure, per example, and independent of how a batch is split over devices.

    Attributes:
      sde: the forward process.
      likelihood_weighting: weight g^2 instead of sigma^2; another name for the weight "likelihood".
      importance_sampling: draw t uniformly in log SNR (needs likelihood_weighting): same expectation, less variance.
      reduce_mean: mean over an example's numbers; else half their sum (both published).
      stratified: one t from each of B equal strata of a global batch, instead of B independent ones.
      num_scales: noise levels of discrete training; 0: continuous time.
      weight: what an error counts, a name of `training.weights.WEIGHTS`.
      time_sampling: how t is drawn, a name of `training.times.TIMES`; on noise levels "uniform", each as often, or
        "loss_aware".
      P_mean, P_std: mean and standard deviation of ln(sigma / alpha) of the time sampling "lognormal".
      min_snr_gamma, p2_k, p2_gamma, sigma_data: options of the weights "min_snr", "p2" and "edm".
      loss: "simple", weighted as above, "hybrid" or "variational"; "vdm", which is `training.vdm.bound`;
        "cross_entropy", a classifier's, which is `training.classification.batch_scores`.
      variance: of the reverse steps in the latter two, a name of `sde_lib.VARIANCES`; "hybrid" needs a learned one.
      vlb_weight: lambda of "hybrid".
      loss_history, uniform_probability: of "loss_aware": losses kept a level, and the share of uniform levels.
      bound_steps: of "vdm": 0 for continuous time, T for a chain of T steps.
      half_bin, bounds: half the distance of grey levels, the first and the last: `Scaler.bins`; None: continuous data.
    """

    sde: AffineSDE
    likelihood_weighting: bool = False
    importance_sampling: bool = False
    reduce_mean: bool = True
    stratified: bool = False
    num_scales: int = 0
    weight: str = "uniform"
    time_sampling: str = "uniform"
    P_mean: float = -1.2
    P_std: float = 1.2
    min_snr_gamma: float = 5.0
    p2_k: float = 1.0
    p2_gamma: float = 1.0
    sigma_data: float = 0.5
    loss: str = "simple"
    variance: str = "learned_range"
    vlb_weight: float = 0.001
    loss_history: int = 10
    uniform_probability: float = 0.001
    bound_steps: int = 0
    half_bin: float | None = None
    bounds: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check("training.", vars(self), of_section("training"))
        check("model.", {"num_scales": self.num_scales}, of_section("model"))
        self._refuse_contradictions()
        hybrid.check(self)
        vdm.check(self)

    def _refuse_contradictions(self) -> None:
        """ValueError where two settings mean different losses."""
        if self.likelihood_weighting and self.weight not in ("uniform", "likelihood"):
            raise ValueError(
                f"training.likelihood_weighting is the weight 'likelihood', and training.weight is {self.weight!r}; "
                "switch the former off or leave the latter at 'uniform'"
            )
        bounds = self._weight == "likelihood"
        if self.loss == "cross_entropy" and (self._weight != "uniform" or self.time_sampling == "loss_aware"):
            raise ValueError(
                f"training.loss is 'cross_entropy', in which every noise level counts alike; training.weight is "
                f"{self._weight!r}, time_sampling {self.time_sampling!r}; set the weight to 'uniform', and "
                "likelihood_weighting to False, and draw t as you like but by the losses"
            )
        if self.num_scales and bounds:
            raise ValueError(
                "training.likelihood_weighting bounds the likelihood of a process in continuous time; with "
                "training.continuous=False leave it off"
            )
        if self.num_scales and self.time_sampling not in ("uniform", "loss_aware"):
            raise ValueError(
                f"training.time_sampling is {self.time_sampling!r}, a distribution of continuous time; with "
                "training.continuous=False it must be 'uniform', each noise level as often, or 'loss_aware'"
            )
        if self.importance_sampling and not bounds:
            raise ValueError(
                "training.importance_sampling is for training.likelihood_weighting=True: it draws t in proportion to "
                "that weight; switch both on or both off"
            )
        if bounds and self.time_sampling != "uniform":
            raise ValueError(
                f"training.time_sampling is {self.time_sampling!r}, and the weight 'likelihood' bounds the likelihood "
                "for t uniform in time; set it to 'uniform', with training.importance_sampling for less variance"
            )

    @property
    def learns_variance(self) -> bool:
        """Whether the loss needs a network that predicts a variance."""
        return self.loss in ("hybrid", "variational") and self.variance.startswith("learned")

    def history(self) -> LossHistory | None:
        """What "loss_aware" begins with; None for other samplings."""
        return LossHistory.create(self.num_scales, self.loss_history) if self.time_sampling == "loss_aware" else None

    @property
    def _weight(self) -> str:
        return "likelihood" if self.likelihood_weighting else self.weight

    @property
    def process(self) -> AffineSDE | Levels:
        """What noises the data: the SDE, or its noise levels in discrete training."""
        return Levels(self.sde, self.num_scales) if self.num_scales else self.sde

    def times(
        self,
        key: Key[Array, ""],
        keys: Key[Array, " b"],
        index: Int[Array, " b"],
        batch_size: int,
        probabilities: Float[Array, " n"] | None = None,
    ) -> Float[Array, " b"]:
        """t of the examples `index` of a global batch, drawn as `time_sampling` says.

        `key` belongs to the batch, `keys` to its examples. "loss_aware" draws levels by their `probabilities`; without
        them each as often.
        """
        if self.stratified:
            u = (jax.random.uniform(key) + index / batch_size) % 1.0
        else:
            u = jax.vmap(jax.random.uniform)(keys)
        if self.num_scales:
            return times.levels(self.process, u, probabilities)
        if self.loss == "vdm":
            return bound_times(self.sde, u, self.bound_steps)
        draw = TIMES["log_snr" if self.importance_sampling else self.time_sampling]
        return draw(self.sde, u, **self._options(draw))

    def weights(self, t: Float[Array, " b"]) -> Float[Array, " b"]:
        """w(t), on |eps_hat - eps|^2.

        With importance sampling the weight is the constant that makes the expectation that of the plain weighting.
        """
        if self.importance_sampling:
            first, last = times.log_snr_range(self.sde)
            return jnp.full_like(t, (first - last) / (1.0 - self.sde.t_min))
        weight = WEIGHTS[self._weight]
        return weight(self.process, t, **self._options(weight))

    def losses(
        self, model: PredictFn, x0: Float[Array, "b *d"], t: Float[Array, " b"], eps: Float[Array, "b *d"]
    ) -> Float[Array, " b"]:
        """The loss of each example; one network evaluation."""
        chex.assert_equal_shape([x0, eps])
        chex.assert_shape(t, (len(x0),))
        mean, std = self.process.marginal(x0, t)
        x = mean + expand(std, x0) * eps
        _, eps_hat, v = model(x, t)
        if self.loss == "variational":
            return self.num_scales * hybrid.term(self, x0, x, t, eps_hat, v)
        errors = jnp.square(eps_hat - eps).reshape(len(x0), -1)
        loss = jnp.mean(errors, axis=1) if self.reduce_mean else 0.5 * jnp.sum(errors, axis=1)
        loss = self.weights(t) * loss
        if self.loss == "hybrid":
            term = hybrid.term(self, x0, x, t, jax.lax.stop_gradient(eps_hat), v)
            loss = loss + self.vlb_weight * self.num_scales * term
        return loss

    def _options(self, function: Callable) -> dict[str, float]:
        return {name: getattr(self, name) for name in options_of(function)}


SETTINGS = tuple(
    f.name for f in dataclasses.fields(Objective) if f.name not in ("sde", "num_scales", "half_bin", "bounds")
)
"""What of an objective is a field of ``config.training`` by the same name."""
