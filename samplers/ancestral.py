"""Ancestral sampling of the discrete Markov chain that a grid cuts out of the SDE."""

from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from limits import OneOf, check
from samplers.base import State, Stepper, at, kernel_fn, normal_like, out_of_noise
from samplers.nodes import kernel_plan
from sde_lib.base import AffineSDE, Coefficient, Kernel, expand
from sde_lib.chain import VARIANCES, interpolated_log_variance
from sde_lib.prediction import Model, ScoreFn, as_prediction


def ancestral(
    sde: AffineSDE,
    model: Model,
    *,
    variance: Annotated[str, OneOf(VARIANCES)] = "small",
    discretization: int | None = None,
    guide: ScoreFn | None = None,
) -> Stepper:
    """x_s = (x + q^2 score) / a + deviation z for the forward kernel x_t = a x_s + q z.

    The mean is that of p(x_s | x_t, x_0) with x_0 replaced by its Tweedie estimate (Ho et al. 2020, eq. 11; Song
    et al. 2021, App. F); for an exact kernel it is computed as alpha_s x0 + a (sigma_s / sigma_t)^2 sigma_t eps, which
    keeps its digits also where a is small, as in the first of few steps of a cosine chain. The deviation is
    q sigma_s / sigma_t (`variance` 'small', the posterior's: exact for a single data point; published for VE) or q
    ('large': exact for unit Gaussian data; published for VP). With 'learned_range' and 'learned' it is made of the
    prediction's variance output: a place between the logarithms of the two (Nichol and Dhariwal 2021, arXiv:2102.09672,
    eq. 15), or log variance itself; a step to data then adds no noise.
    One evaluation a step. Any SDE, sub-VP included; `discretization` as in `reverse_diffusion`.

    A `guide` (`samplers.classifier_guide`) moves the mean by variance times its answer (Dhariwal and Nichol 2021,
    arXiv:2105.05233, Algorithm 1): with 'small' less than the same guide in the score would, which moves it by q^2 / a.
    For parity; `samplers.classifier_guided` is for every sampler. In a step to data the variance is that of the
    published decoder: 0 if 'small', the posterior's of the step before if 'large', between that and q^2 if learned.

    Raises:
      ValueError: an unknown variance; when it is run, a learned one of a model that predicts none.
    """
    check("ancestral: ", {"variance": variance}, {"variance": OneOf(VARIANCES)})
    kernel, predict, learned = kernel_fn(sde, discretization), as_prediction(sde, model), variance.startswith("learned")

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient, row: Kernel | None = None) -> State:
        x, k = state.x, row or kernel(t, s)
        prediction = at(predict, x, t)
        if learned and prediction.variance is None:
            raise ValueError(
                "the network predicts no variance, which takes twice the channels of the image; use a fixed one, small "
                "or large"
            )
        v = prediction.variance if learned else None
        if row is None and discretization is not None:
            mean = (x + k.std**2 * predict.score_of(prediction, t)) / k.scale
        else:  # the same, without the small difference of two numbers that is divided by a small scale
            alpha, sigma = (expand(c, x) for c in (predict.process.alpha(t), predict.process.sigma(t)))
            mean = alpha / k.scale * prediction.x0 + k.scale * k.std_ratio**2 * sigma * prediction.eps
        posterior, to_data = k.std * k.std_ratio, k.std_ratio == 0.0
        before = posterior if guide is None else state.memory  # the posterior's deviation in the step before
        if v is None:
            deviation = posterior if variance == "small" else k.std
            guided = jnp.where(to_data, before, deviation) if variance == "large" else deviation
        else:
            tiny = jnp.finfo(x.dtype).tiny
            ends = jnp.where(to_data, before, posterior), k.std
            small, large = (2.0 * jnp.log(jnp.maximum(std, tiny)) for std in ends)
            guided = jnp.exp(0.5 * (v if variance == "learned" else interpolated_log_variance(v, small, large)))
            deviation = jnp.where(to_data, 0.0, guided)
        if guide is not None:
            mean = mean + guided**2 * guide(x, jnp.full(len(x), t, x.dtype))
        memory = state.memory if guide is None else posterior
        mean, deviation = out_of_noise(sde, t, s, prediction, mean, deviation)
        return State(mean + deviation * normal_like(key, x), mean, memory)

    def init(x: Float[Array, "b *d"]) -> State:
        return State(x, x, () if guide is None else jnp.zeros((), x.dtype))

    return Stepper(step, evaluations=1, init=init, plan=kernel_plan(sde, discretization))
