"""Few-step sampling with jumps: along the flow, or to its end and back into noise.

Both take any model. One whose network is told where a jump ends, or is a consistency model, was trained for steps of
any length; of another a jump is a DDIM step.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from samplers.base import Plan, State, Stepper, from_time_to_time, normal_like
from sde_lib.base import AffineSDE, Coefficient, expand
from sde_lib.jump import jump_fn
from sde_lib.prediction import Model


def jump(sde: AffineSDE, model: Model) -> Stepper:
    """Jumps along the flow, from each time of the grid to the next: one evaluation a step, deterministic.

    (Geng et al. 2025, arXiv:2505.13447, sec. 4.1; one step from noise to data is x - u(x, 1, 0).)
    """
    leap = jump_fn(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = leap(state.x, *(jnp.full(len(state.x), time, state.x.dtype) for time in (t, s)))
        return State(x, x, state.memory)

    return Stepper(step, evaluations=1, to_data=True)


def renoise(sde: AffineSDE, model: Model) -> Stepper:
    """Jumps to the grid's end, and from there back into noise to its next time: one evaluation a step.

    It is the multistep sampling of consistency models (Song et al. 2023, arXiv:2303.01469, Algorithm 1), who noise by
    sqrt(sigma^2 - sigma_min^2) from a grid that ends at sigma_min (denoise "none"); a grid that ends in data noises by
    sigma, as later papers do. The exact transition of the process is both.
    """
    leap = jump_fn(sde, model)

    def plan(times: Float[Array, " n"] | np.ndarray) -> Plan:
        rows, ends = from_time_to_time(times)
        return Plan((*rows, jnp.full_like(rows[0], times[-1])), ends)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient, end: Coefficient) -> State:
        x = state.x
        clean = leap(x, *(jnp.full(len(x), time, x.dtype) for time in (t, end)))
        scale, std, _ = sde.transition(end, s)
        mean, std = jnp.where(s > end, expand(scale, x) * clean, clean), jnp.where(s > end, std, 0.0)
        return State(mean + std * normal_like(key, x), mean, state.memory)

    return Stepper(step, evaluations=1, plan=plan, to_data=True)
