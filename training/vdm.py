"""Training by the bound in continuous time, the noise schedule with the network (Kingma et al. 2021, arXiv:2107.00630).

The loss of an example is its bound in bits/dim, with one t for the diffusion term. Network and the schedule's two ends
follow its gradient. In continuous time the bound's expectation does not depend on the schedule between its ends
(eq. 18), only the variance of this estimate does; so those parameters follow the gradient of the estimate's square,
which is that of its variance (App. I.2). A chain of finitely many steps has no such invariance: all follow the bound.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sde_lib import AffineSDE, PredictFn
from sde_lib.bound import Bound, diffusion_bits, prior_bits, reconstruction_bits

Tensors = dict[str, Array]
Losses = Float[Array, " b"]
Image = Float[Array, "b *d"]


class Settings(Protocol):
    """What of an `Objective` is read here."""

    sde: AffineSDE
    num_scales: int
    loss: str
    bound_steps: int
    weight: str
    likelihood_weighting: bool
    time_sampling: str


def check(settings: Settings) -> None:
    """ValueError where the bound is to be trained of what it does not bound."""
    vdm = settings.loss == "vdm"
    if settings.bound_steps and not vdm:
        raise ValueError(
            f"training.bound_steps is {settings.bound_steps} and training.loss {settings.loss!r}; with 'vdm' 0 is "
            "continuous time, T a chain of T steps; else leave it at 0"
        )
    if vdm and settings.num_scales:
        raise ValueError(
            "training.loss is 'vdm', the bound in continuous time, and training.continuous False; switch it on, or "
            "take 'variational'"
        )
    if vdm and (settings.weight, settings.time_sampling, settings.likelihood_weighting) != ("uniform",) * 2 + (False,):
        raise ValueError(
            f"training.loss is 'vdm', which has its own weight and times; training.weight is {settings.weight!r}, "
            f"time_sampling {settings.time_sampling!r}, likelihood_weighting {settings.likelihood_weighting}: set them "
            "to 'uniform', 'uniform' and False"
        )
    if settings.sde.parameters and not vdm:
        raise ValueError(
            f"sde.learned is True and training.loss {settings.loss!r}, which does not train a noise schedule; take "
            "'vdm', or set sde.learned to False"
        )


def bound(
    settings: Settings,
    predict_fn: Callable[[AffineSDE, Tensors], PredictFn],
    parameters: Tensors,
    weights: Tensors,
    x0: Image,
    t: Float[Array, " b"],
    eps: Image,
    eps0: Image,
    levels: Float[np.ndarray, " n"] | None,
) -> Bound:
    """The three terms of each example, their gradients as this module says; one network evaluation.

    Args:
      settings: of these the process, with any values of its parameters, and the number of steps.
      predict_fn: (process, weights) -> the network's predictions.
      parameters: of the process.
      weights: of the network.
      x0: data; grey levels exactly as in `levels`.
      t: from `sde_lib.bound.bound_times`.
      eps, eps0: standard normal noise at t and at the process's beginning.
      levels: all grey levels; None: continuous data.
    """
    sde, steps = settings.sde, settings.bound_steps
    interior = {} if steps else {name: parameters[name] for name in sde.interior}
    rest = {name: value for name, value in parameters.items() if name not in interior}

    def diffusion(given: tuple[Tensors, Tensors], of_example: Tensors) -> Losses:
        rest, weights = given
        process = sde.with_parameters(rest | of_example)
        return diffusion_bits(process, predict_fn(process, weights), x0, t, eps, steps)

    of_example = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(x0), *a.shape)), interior)
    ends = sde.with_parameters(rest | jax.lax.stop_gradient(interior))
    first, last = (sde.log_snr(jnp.asarray(t)) for t in (sde.t_min, 1.0))
    return Bound(
        descending_variance(diffusion, jnp.log(4.0) / (first - last))((rest, weights), of_example),
        prior_bits(ends, x0),
        reconstruction_bits(ends, x0, eps0, levels),
    )


def descending_variance(
    losses: Callable[[Any, Tensors], Losses], scale: Float[Array, ""]
) -> Callable[[Any, Tensors], Losses]:
    """`losses` (given, of_example) -> [b], but the gradient in `of_example` is that of scale times the losses' squares.

    Leaves of `of_example` are [b, ...], entry i acting on loss i alone: the squares' gradient is then each loss's own,
    times twice the loss, and forward and backward pass are made once. `scale` is there because these gradients are
    clipped together with the network's: a network that knows nothing has the diffusion loss 1/2 gamma', on average half
    the range of gamma, whose inverse (in bits) makes of the square a loss of the bound's own size.
    """

    @jax.custom_vjp
    def call(given: Any, of_example: Tensors) -> Losses:
        return losses(given, of_example)

    def forward(given: Any, of_example: Tensors) -> tuple[Losses, Any]:
        values, pull = jax.vjp(losses, given, of_example)
        return values, (values, pull)

    def backward(residuals: Any, cotangent: Losses) -> tuple[Any, Tensors]:
        values, pull = residuals
        d_given, d_of_example = pull(cotangent)

        def squared(d: Array) -> Array:
            return (2.0 * scale * values).reshape(-1, *[1] * (d.ndim - 1)) * d

        return d_given, jax.tree.map(squared, d_of_example)

    call.defvjp(forward, backward)
    return call
