"""Training by the bound in continuous time, the noise schedule with the network (Kingma et al. 2021, arXiv:2107.00630).

The loss of an example is its bound in bits/dim, with one t for the diffusion term. Network and the schedule's two ends
follow its gradient. In continuous time the bound's expectation does not depend on the schedule between its ends
(eq. 18), only the variance of this estimate does; so those parameters follow the gradient of the estimate's square,
which is that of its variance (App. I.2). A chain of finitely many steps has no such invariance: all follow the bound.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiment.schedule import parameters_of
from sde_lib import AffineSDE, Levels, PredictFn
from sde_lib.bound import Bound, bound_times, diffusion_bits, prior_bits, reconstruction_bits
from training.examples import Examples
from training.losses.base import Loss, Process, Scores
from training.model import TrainedModel
from training.times import uniform_numbers

Tensors = dict[str, Array]
Losses = Float[Array, " b"]
Image = Float[Array, "b *d"]


@dataclasses.dataclass(frozen=True, eq=False)
class VariationalDiffusion(Loss):
    """The three terms of the bound, bits/dim.

    Attributes:
      bound_steps: 0 for continuous time, T for a chain of T equal steps.
      stratified: whether each of B equal strata of a global batch gives one t, instead of B independent draws.

    Raises:
      ValueError: the process is one of levels.
    """

    process: AffineSDE
    bound_steps: int = 0
    stratified: bool = False
    trains_schedule = True
    ignores = ("reduce_mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.process, Levels):
            raise ValueError(
                "training.loss is 'vdm', the bound in continuous time, and training.continuous False; switch it on, or "
                "take 'variational'"
            )

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the bound of each example; one network evaluation."""
        draws, x0 = examples.draws, examples.x0
        t = bound_times(self.process, uniform_numbers(draws, self.stratified), self.bound_steps).astype(x0.dtype)
        eps0 = draws._replace(noise=jax.vmap(jax.random.fold_in, (0, None))(draws.noise, 0)).eps(x0)

        given = parameters_of(model.params), model.params
        return {"loss": self.bound(model.predict_fn, *given, x0, t, draws.eps(x0), eps0).total}

    def bound(
        self,
        predict_fn: Callable[[Process, Tensors], PredictFn],
        parameters: Tensors,
        weights: Tensors,
        x0: Image,
        t: Float[Array, " b"],
        eps: Image,
        eps0: Image,
    ) -> Bound:
        """Return the three terms of each example, with gradients as this module says; one network evaluation.

        Args:
          predict_fn: (process, weights) -> what the network predicts along the process.
          parameters: of the process.
          weights: of the network.
          x0: data; grey levels exactly as in `grey_levels`.
          t: from `sde_lib.bound.bound_times`.
          eps, eps0: standard normal noise at t and at the process's beginning.
        """
        sde = self.process
        interior = {} if self.bound_steps else {name: parameters[name] for name in sde.interior}
        rest = {name: value for name, value in parameters.items() if name not in interior}

        def diffusion(given: tuple[Tensors, Tensors], of_example: Tensors) -> Losses:
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
