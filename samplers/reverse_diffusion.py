"""The reverse-diffusion predictor: the forward discretisation run backwards."""

from jaxtyping import Array, Key

from samplers.base import State, Stepper, at, kernel_fn, normal_like
from samplers.nodes import kernel_plan
from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.prediction import ScoreFn


def reverse_diffusion(
    sde: AffineSDE, score: ScoreFn, *, discretization: int | None = None, probability_flow: bool = False
) -> Stepper:
    """x_s = (2 - a) x + q^2 score + q z for a forward step x_t = a x_s + q z (Song et al. 2021, eq. 46).

    One evaluation a step, order 1. By default a and q are those of the exact transition; with
    `discretization` = N they are the published N-step chain's (DDPM for VP, SMLD for VE, Euler for sub-VP),
    which a published number needs, on the chain's own grid (`samplers.nodes.own_chain`), and exact on every other.
    `probability_flow` halves the score term and drops the noise.
    """
    kernel = kernel_fn(sde, discretization)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient, row: Kernel | None = None) -> State:
        x, k = state.x, row or kernel(t, s)
        pull = (0.5 if probability_flow else 1.0) * k.std**2
        mean = (2.0 - k.scale) * x + pull * at(score, x, t)
        return State(mean if probability_flow else mean + k.std * normal_like(key, x), mean, state.memory)

    return Stepper(step, evaluations=1, plan=kernel_plan(sde, discretization))
