"""Ancestral sampling of the discrete Markov chain that a grid cuts out of the SDE."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from samplers.base import State, Stepper, at, kernel_fn, normal_like
from sde_lib.base import AffineSDE, Coefficient
from sde_lib.prediction import ScoreFn

VARIANCES = ("small", "large")


def ancestral(sde: AffineSDE, score: ScoreFn, *, variance: str = "small", discretization: int | None = None) -> Stepper:
    """x_s = (x + q^2 score) / a + deviation z for the forward kernel x_t = a x_s + q z.

    The mean is that of p(x_s | x_t, x_0) with x_0 replaced by its Tweedie estimate (Ho et al. 2020, eq. 11; Song
    et al. 2021, App. F). The deviation is q sigma_s / sigma_t (`variance` 'small', the posterior's: exact for a
    single data point; published for VE) or q ('large': exact for unit Gaussian data; published for VP). One
    evaluation a step. Any SDE, sub-VP included; `discretization` as in `reverse_diffusion`.

    Raises:
      ValueError: an unknown variance.
    """
    if variance not in VARIANCES:
        raise ValueError(f"ancestral: variance is {variance!r}; allowed are {', '.join(VARIANCES)}")
    kernel = kernel_fn(sde, discretization)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x, k = state.x, kernel(t, s)
        mean = (x + k.std**2 * at(score, x, t)) / k.scale
        deviation = k.std * (k.std_ratio if variance == "small" else jnp.ones_like(k.std))
        return State(mean + deviation * normal_like(key, x), mean, state.memory)

    return Stepper(step, evaluations=1)
