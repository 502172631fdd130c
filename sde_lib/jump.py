"""Jumps: maps along the probability flow, from a point at time t to the one at s < t, in one evaluation.

The exact jump of a flow carries x_t to the end x_s of its path. A DDIM step (Song et al. 2021, arXiv:2010.02502) is the
jump of any model, exact where the prediction does not change along the path. So a network that is told where a jump
ends gives the pair (x0, eps) for which this step is exact, and one form serves all published maps:

- mean flows, x_s = x - (t - s) u(x, t, s), whose network predicts the velocity of the linear flow (Geng et al. 2025,
  arXiv:2505.13447);
- consistency models, whose network knows one end alone (Song et al. 2023, arXiv:2303.01469), and whose
  parameterization puts f there (`sde_lib.preconditioning.Consistency`);
- what is trained of v on a circle, x_s = cos(t - s) x - sin(t - s) v, which is DDIM on `GVP`.

As s comes to t the pair becomes the one that the flow's own velocity consists of: so a network that is told the end is
also a model for every solver and for the likelihood.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import Coefficient, Process, expand
from sde_lib.prediction import Model, Prediction, as_prediction

JumpFn = Callable[[Float[Array, "b *d"], Float[Array, " b"], Float[Array, " b"]], Float[Array, "b *d"]]
"""(x [b, ...] at times t [b], s [b]) -> the points at times s, [b, ...]."""


def reached(process: Process, prediction: Prediction, s: Coefficient) -> Float[Array, "b *d"]:
    """The points alpha(s) x0 + sigma(s) eps at times s to which the DDIM step of a prediction leads, [b, ...].

    Time 0 is data, also of a process whose noise there is not 0.
    """
    x0, eps, _ = prediction
    alpha, sigma = jnp.where(s > 0.0, process.alpha(s), 1.0), jnp.where(s > 0.0, process.sigma(s), 0.0)
    return expand(alpha, x0) * x0 + expand(sigma, x0) * eps


def jump_fn(process: Process, model: Model) -> JumpFn:
    """The jump x_s = alpha(s) x0 + sigma(s) eps of the model's pair at (x, t), told s where it is told ends.

    One evaluation. At s = t it returns x.
    """
    predict = as_prediction(process, model)

    def jump(x: Float[Array, "b *d"], t: Float[Array, " b"], s: Float[Array, " b"]) -> Float[Array, "b *d"]:
        return reached(process, predict(x, t, s), s)

    return jump
