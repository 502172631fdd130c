"""The bound in continuous time trains the noise schedule with the network (Kingma et al. 2021, arXiv:2107.00630).

The loss of an example is its bound in bits/dim, with one t for the diffusion term. Network and the schedule's two ends
follow its gradient. In continuous time the bound's expectation does not depend on the schedule between its ends
(eq. 18), only the variance of this estimate does; so those parameters follow the gradient of the estimate's square,
which is that of its variance (App. I.2). A chain of finitely many steps has no such invariance: all follow the bound.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from experiment.schedule import parameters_of
from sde_lib import AffineSDE, PredictFn
from sde_lib.bound import Bound, bound_times, diffusion_bits, prior_bits, reconstruction_bits
from training.examples import Examples
from training.losses.base import Loss, Process
from training.model import Scores, TrainedModel, Weights
from training.times import uniform_numbers

Losses = Float[Array, " b"]
Image = Float[Array, "b *d"]


@dataclasses.dataclass(frozen=True, eq=False)
class VariationalDiffusion(Loss):
    """The loss is the sum of the three terms of the bound, in bits/dim.

    Attributes:
      bound_steps: 0 for continuous time, T for a chain of T equal steps.
      stratified: whether each of B equal strata of a global batch gives one t, instead of B independent draws.

    Raises:
      ValueError: the process is one of levels.
    """

    process: AffineSDE
    bound_steps: Annotated[int, FIELDS["training.bound_steps"]] = 0
    stratified: Annotated[bool, FIELDS["training.stratified"]] = False
    of_levels = False
    trains_schedule = True
    ignores = ("reduce_mean",)

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the bound of each example; one network evaluation."""
        draws, x0 = examples.draws, examples.x0
        t = bound_times(self.process, uniform_numbers(draws, self.stratified), self.bound_steps).astype(x0.dtype)
        eps0 = draws._replace(noise=jax.vmap(jax.random.fold_in, (0, None))(draws.noise, 0)).eps(x0)

        given = parameters_of(model.params), model.params
        return {"loss": self.bound(model.predict_fn, *given, x0, t, draws.eps(x0), eps0).total}

    def bound(
        self,
        predict_fn: Callable[[Process, Weights], PredictFn],
        parameters: Weights,
        weights: Weights,
        x0: Image,
        t: Float[Array, " b"],
        eps: Image,
        eps0: Image,
    ) -> Bound:
        """Return the three terms of each example, with gradients as this module says; one network evaluation.

        ``predict_fn(process, weights)`` predicts along the process that has these parameters; t comes from
        `sde_lib.bound.bound_times`, and eps and eps0 are standard normal noise at t and at the process's beginning.
        """
        sde = self.process
        interior = {} if self.bound_steps else {name: parameters[name] for name in sde.interior}
        rest = {name: value for name, value in parameters.items() if name not in interior}

        def diffusion(given: tuple[Weights, Weights], of_example: Weights) -> Losses:
            rest, weights = given
            process = sde.with_parameters(rest | of_example)
            return diffusion_bits(process, predict_fn(process, weights), x0, t, eps, self.bound_steps)

        of_example = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(x0), *a.shape)), interior)
        ends = sde.with_parameters(rest | jax.lax.stop_gradient(interior))
        first, last = (sde.log_snr(jnp.asarray(t)) for t in (sde.t_min, 1.0))
        return Bound(
            descending_variance(diffusion, jnp.log(4.0) / (first - last))((rest, weights), of_example),
            prior_bits(ends, x0),
            reconstruction_bits(ends, x0, eps0, self.grey_levels),
        )


def descending_variance(
    losses: Callable[[Any, Weights], Losses], scale: Float[Array, ""]
) -> Callable[[Any, Weights], Losses]:
    """Return ``losses(given, of_example)`` [b] with the gradient of scale times their squares in `of_example`.

    Leaves of `of_example` are [b, ...], entry i acting on loss i alone: the squares' gradient is then each loss's own,
    times twice the loss, and forward and backward pass are made once. `scale` is there because these gradients are
    clipped together with the network's: a network that knows nothing has the diffusion loss 1/2 gamma', on average half
    the range of gamma, whose inverse (in bits) makes of the square a loss of the bound's own size.
    """

    def forward(given: Any, of_example: Weights) -> tuple[Losses, Any]:
        values, pull = jax.vjp(losses, given, of_example)
        return values, (values, pull)

    def backward(residuals: Any, cotangent: Losses) -> tuple[Any, Weights]:
        values, pull = residuals
        d_given, d_of_example = pull(cotangent)

        def squared(d: Array) -> Array:
            return (2.0 * scale * values).reshape(-1, *[1] * (d.ndim - 1)) * d

        return d_given, jax.tree.map(squared, d_of_example)

    call = jax.custom_vjp(losses)
    call.defvjp(forward, backward)
    return call
