"""Flow matching: the velocity of the probability flow is learned, with a choice of which noise meets which example.

    loss = |u_hat - u|^2,        u = alpha'(t) x0 + sigma'(t) eps        (Lipman et al. 2022, arXiv:2210.02747, eq. 14)

For a network that predicts the velocity of the linear flow this is the loss of rectified flow (Liu et al. 2022,
arXiv:2209.03003, eq. 1) and of SiT (Ma et al. 2024, arXiv:2401.08740). What any other network says is a velocity too.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from sde_lib import AffineSDE
from training.examples import NOISE, Examples
from training.losses.base import NoisedLoss
from training.losses.denoising_score_matching import weighted_errors
from training.model import Scores, TrainedModel


def assigned(x0: Float[Array, "b *d"], eps: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
    """Return the noise in the order in which the sum of |x0 - eps|^2 is least: each is used once.

    The assignment is exact (the Hungarian algorithm), so a group of examples and its noise are coupled by the optimal
    transport between them (Pooladian et al. 2023, arXiv:2304.14772; Tong et al. 2023, arXiv:2302.00482). Of the squares
    only the products depend on the order.
    """
    rows = x0.reshape(len(x0), -1)
    costs = -jnp.matmul(rows, eps.reshape(len(eps), -1).T, precision="highest")
    example, noise = optax.assignment.hungarian_algorithm(jax.lax.stop_gradient(costs))
    return eps[jnp.zeros_like(noise).at[example].set(noise)]


@dataclasses.dataclass(frozen=True, eq=False)
class FlowMatching(NoisedLoss):
    """The mean square of u_hat - u over an example's numbers.

    Attributes:
      coupling: "independent": every example has noise of its own; "optimal_transport": within groups of examples that
        are next to each other in a batch the noise is `assigned`, which makes the flow straighter. An example draws the
        same noise either way, whoever gets it. "reflow": examples and noise are the two ends of a teacher's flow
        (`training.reflow`; Liu et al. 2022, sec. 2.1), whose paths hardly cross, and nothing is drawn.
      coupling_size: the examples of a group, of which what a device takes at once must hold whole ones.

    Raises:
      ValueError: noise levels, which have no velocity; when it is called, a part of a batch that no whole groups fill.
    """

    of_levels = False
    leaves_out = True

    process: AffineSDE
    coupling: Annotated[str, FIELDS["training.coupling"]] = "independent"
    coupling_size: Annotated[int, FIELDS["training.coupling_size"]] = 32

    @property
    def needs_pairs(self) -> bool:
        """Whether it learns the pairs of a teacher's flow."""
        return self.coupling == "reflow"

    def check_part(self, examples: int) -> None:
        """Refuse a number that whole groups do not fill."""
        if self.coupling == "optimal_transport" and examples % self.coupling_size:
            raise ValueError(
                f"training.coupling_size is {self.coupling_size}, and a device takes {examples} examples at once "
                "(training.batch_size over the devices and training.accumulate); it must divide that number"
            )

    def coupled(self, examples: Examples, eps: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """Return the noise that each example meets, where eps was drawn for them."""
        if self.needs_pairs:
            return examples.fields[NOISE]
        if self.coupling == "independent":
            return eps
        x0, size = examples.x0, self.coupling_size
        self.check_part(len(x0))
        groups = (array.reshape(-1, size, *array.shape[1:]) for array in (x0, eps))
        return jax.vmap(assigned)(*groups).reshape(eps.shape)

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Scores:
        """Return the loss of examples with this noise at these times; one network evaluation."""
        x0 = examples.x0
        eps = self.coupled(examples, eps)
        prediction = model.predict_fn(self.process)(self.noised(x0, t, eps), t)
        found = self.process.velocity(prediction.x0, prediction.eps, t)
        loss = weighted_errors(jnp.ones_like(t), found, self.process.velocity(x0, eps, t))
        return {"loss": examples.over_present(loss)}
