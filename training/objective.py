"""Denoising score matching in continuous time (Vincent 2011; Song et al. 2021, eq. 7; arXiv:2101.09258).

For x_t = alpha x_0 + sigma eps the score of p(x_t | x_0) is -eps / sigma, so every weighting of the score's error is
a weighting of |eps_hat - eps|^2, whatever the network predicts:

    weight sigma^2 :  |eps_hat - eps|^2
    weight g^2     :  (g^2 / sigma^2) |eps_hat - eps|^2,   a bound on the likelihood (Song et al. 2021b, Theorem 1).

Since g^2 / sigma^2 = -d/dt log SNR, drawing t uniformly in log SNR turns the second weight into a constant: that is
the importance sampling of Song et al. 2021b (App. B), here for every affine SDE at once.

With `num_scales` = n, t takes the n values of a discrete chain, each as often, and alpha, sigma are the chain's. That
is the loss of DDPM (Ho et al. 2020, eq. 14) for VP and of SMLD (Song and Ermon 2019, eq. 6) for VE: |eps_hat - eps|^2.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from sde_lib import AffineSDE, Levels, ScoreFn, expand


@dataclasses.dataclass(frozen=True)
class Objective:
    """The training loss of a batch; pure, per example, and independent of how a batch is split over devices.

    Attributes:
      sde: the forward process.
      likelihood_weighting: weight g^2 instead of sigma^2.
      importance_sampling: draw t uniformly in log SNR (needs likelihood_weighting): same expectation, less variance.
      reduce_mean: mean over an example's numbers; else half their sum (both published).
      stratified: one t from each of B equal strata of a global batch, instead of B independent ones.
      num_scales: noise levels of discrete training; 0: continuous time.
    """

    sde: AffineSDE
    likelihood_weighting: bool = False
    importance_sampling: bool = False
    reduce_mean: bool = True
    stratified: bool = False
    num_scales: int = 0

    def __post_init__(self) -> None:
        if self.num_scales and self.likelihood_weighting:
            raise ValueError(
                "training.likelihood_weighting bounds the likelihood of a process in continuous time; with "
                "training.continuous=False leave it off"
            )
        if self.importance_sampling and not self.likelihood_weighting:
            raise ValueError(
                "training.importance_sampling is for training.likelihood_weighting=True: it draws t in proportion to "
                "that weight; switch both on or both off"
            )

    @property
    def process(self) -> AffineSDE | Levels:
        """What noises the data: the SDE, or its noise levels in discrete training."""
        return Levels(self.sde, self.num_scales) if self.num_scales else self.sde

    def times(
        self, key: Key[Array, ""], keys: Key[Array, " b"], index: Int[Array, " b"], batch_size: int
    ) -> Float[Array, " b"]:
        """t of the examples `index` of a global batch: uniform on [t_min, 1], in log SNR, or over the noise levels.

        `key` belongs to the batch, `keys` to its examples.
        """
        if self.stratified:
            u = (jax.random.uniform(key) + index / batch_size) % 1.0
        else:
            u = jax.vmap(jax.random.uniform)(keys)
        sde, n = self.sde, self.num_scales
        if n:
            return jnp.minimum(jnp.floor(u * n), n - 1) / (n - 1)
        if not self.importance_sampling:
            return sde.t_min + u * (1.0 - sde.t_min)
        first, last = self._log_snr_range()
        return sde.time_of_log_snr(last + u * (first - last))

    def losses(
        self, eps_fn: ScoreFn, x0: Float[Array, "b *d"], t: Float[Array, " b"], eps: Float[Array, "b *d"]
    ) -> Float[Array, " b"]:
        """The loss of each example; one network evaluation.

        `eps_fn` (x, t) -> eps_hat is a score times -sigma. With importance sampling the loss carries the constant that
        makes its expectation that of the plain weighting.
        """
        chex.assert_equal_shape([x0, eps])
        chex.assert_shape(t, (len(x0),))
        mean, std = self.process.marginal(x0, t)
        errors = jnp.square(eps_fn(mean + expand(std, x0) * eps, t) - eps).reshape(len(x0), -1)
        loss = jnp.mean(errors, axis=1) if self.reduce_mean else 0.5 * jnp.sum(errors, axis=1)
        if not self.likelihood_weighting:
            return loss
        if self.importance_sampling:
            first, last = self._log_snr_range()
            return loss * (first - last) / (1.0 - self.sde.t_min)
        return loss * (self.sde.diffusion(t) / std) ** 2

    def _log_snr_range(self) -> tuple[Array, Array]:
        return self.sde.log_snr(jnp.asarray(self.sde.t_min)), self.sde.log_snr(jnp.asarray(1.0))
