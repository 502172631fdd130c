"""Training by the variational bound itself, the noise schedule with the network (Kingma et al. 2021, arXiv:2107.00630).

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
from jaxtyping import Array, Float, Int, Key

from sde_lib import AffineSDE, ScoreFn
from sde_lib.bound import Bound, bound_times, diffusion_bits, prior_bits, reconstruction_bits

Tensors = dict[str, Array]
Losses = Float[Array, " b"]


@dataclasses.dataclass(frozen=True)
class VariationalObjective:
    """The bound of a batch, per example, independent of how the batch is split over devices.

    Attributes:
      sde: the forward process, with the initial values of its parameters.
      steps: 0: continuous time; T: a chain of T steps.
      stratified: one t from each of B equal strata of a global batch, instead of B independent ones.
    """

    sde: AffineSDE
    steps: int = 0
    stratified: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"training.bound_steps is {self.steps}; 0 is continuous time, T a chain of T steps")

    def times(
        self, key: Key[Array, ""], keys: Key[Array, " b"], index: Int[Array, " b"], batch_size: int
    ) -> Float[Array, " b"]:
        """t of the examples `index` of a global batch; `key` belongs to the batch, `keys` to its examples."""
        if self.stratified:
            u = (jax.random.uniform(key) + index / batch_size) % 1.0
        else:
            u = jax.vmap(jax.random.uniform)(keys)
        return bound_times(self.sde, u, self.steps)

    def bound(
        self,
        eps_fn: Callable[[AffineSDE, Tensors], ScoreFn],
        parameters: Tensors,
        weights: Tensors,
        x0: Float[Array, "b *d"],
        t: Float[Array, " b"],
        eps: Float[Array, "b *d"],
        eps0: Float[Array, "b *d"],
        levels: Float[Any, " n"] | None,
    ) -> Bound:
        """The three terms of each example, their gradients as this module says; one network evaluation.

        Args:
          eps_fn: (process, weights) -> the noise that the network finds at (x, t).
          parameters: of the process.
          weights: of the network.
          x0: data; grey levels exactly as in `levels`.
          t: from `times`.
          eps, eps0: standard normal noise at t and at the process's beginning.
          levels: all grey levels; None: continuous data.
        """
        interior = {} if self.steps else {name: parameters[name] for name in self.sde.interior}
        rest = {name: value for name, value in parameters.items() if name not in interior}

        def diffusion(given: tuple[Tensors, Tensors], of_example: Tensors) -> Losses:
            rest, weights = given
            process = self.sde.with_parameters(rest | of_example)
            return diffusion_bits(process, eps_fn(process, weights), x0, t, eps, self.steps)

        of_example = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(x0), *a.shape)), interior)
        ends = self.sde.with_parameters(rest | jax.lax.stop_gradient(interior))
        first, last = (self.sde.log_snr(jnp.asarray(t)) for t in (self.sde.t_min, 1.0))
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
