"""Straightness: how far the paths of a flow are from straight lines at constant speed (Liu et al. 2022).

    S = int_0^1 |(z_1 - z_0) - v(z_t, t)|^2 dt        (arXiv:2209.03003, eq. 6)

is 0 where one step of Euler's method is exact, as it becomes by reflow. z_1 - z_0 is the mean of v along the path, so S
is the variance of v, which is what is computed: both are of one pass.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from samplers.flow import velocity_fn
from sde_lib import AffineSDE
from sde_lib.prediction import Model


def straightness(
    process: AffineSDE, model: Model, z: Float[Array, "b *d"], *, steps: int = 100
) -> tuple[Float[Array, "b *d"], Float[Array, " b"]]:
    """The ends at t = 0 of the paths from points z of the prior at t = 1, and S of each, in squared units of the data.

    The paths are followed by the midpoint method, 2 * steps evaluations, whose error falls with its square. Time is
    the process's own: a flow may be straight in one time and not in another.
    """
    velocity, width = velocity_fn(process, model), 1.0 / steps

    def step(state: tuple, i: Float[Array, ""]) -> tuple[tuple, None]:
        x, mean, spread = state
        t = 1.0 - i * width
        v = velocity(x - 0.5 * width * velocity(x, t), t - 0.5 * width)
        off = v - mean  # Welford's sums, which lose no digits of a small variance
        squares = jnp.sum(jnp.square(off).reshape(len(x), -1), axis=1)
        return (x - width * v, mean + off / (i + 1), spread + squares * (i / (i + 1))), None

    start = z, jnp.zeros_like(z), jnp.zeros(len(z), z.dtype)
    (end, _, spread), _ = jax.lax.scan(step, start, jnp.arange(steps, dtype=z.dtype))
    return end, spread * width
