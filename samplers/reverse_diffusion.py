"""The reverse-diffusion predictor: the forward discretisation run backwards."""

from jaxtyping import Array, Key

from samplers.base import State, Stepper, at, kernel_fn, normal_like, out_of_noise
from samplers.nodes import kernel_plan
from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.prediction import Model, as_prediction


def reverse_diffusion(
    sde: AffineSDE, model: Model, *, discretization: int | None = None, probability_flow: bool = False
) -> Stepper:
    """x_s = (2 - a) x + q^2 score + q z for a forward step x_t = a x_s + q z (Song et al. 2021, eq. 46).

    One evaluation a step, order 1. By default a and q are those of the exact transition; with
    `discretization` = N they are the published N-step chain's (DDPM for VP, SMLD for VE, Euler for sub-VP),
    which a published number needs, on the chain's own grid (`samplers.nodes.own_chain`), and exact on every other.
    `probability_flow` halves the score term and drops the noise.
    """
    kernel, predict = kernel_fn(sde, discretization), as_prediction(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient, row: Kernel | None = None) -> State:
        x, k = state.x, row or kernel(t, s)
        pull, prediction = (0.5 if probability_flow else 1.0) * k.std**2, at(predict, x, t)
        mean = (2.0 - k.scale) * x + pull * predict.score_of(prediction, t)
        mean, std = out_of_noise(sde, t, s, prediction, mean, None if probability_flow else k.std)
        return State(mean if probability_flow else mean + std * normal_like(key, x), mean, state.memory)

    return Stepper(step, evaluations=1, plan=kernel_plan(sde, discretization))
