"""L_simple for the mean and the variational bound for the variance (Nichol and Dhariwal 2021, arXiv:2102.09672)."""

import dataclasses
from typing import Annotated, ClassVar

import jax
from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from training.examples import Examples
from training.losses.denoising_score_matching import errors
from training.losses.variational import Variational
from training.model import Scores, TrainedModel
from training.weighting import Weighting


@dataclasses.dataclass(frozen=True, eq=False)
class Hybrid(Variational):
    """The loss is L_simple + lambda n L_t (eq. 16), in which the bound is a function of the variance alone.

    Attributes:
      weighting: the weight of L_simple, uniform as published.
      vlb_weight: lambda.

    Raises:
      ValueError: the process has no levels, or the variance is not learned.
    """

    weighting: Weighting = Weighting()
    vlb_weight: Annotated[float, FIELDS["training.vlb_weight"]] = 0.001
    ignores: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.needs_variance:
            raise ValueError(
                f"training.loss is 'hybrid', which trains a learned variance, and training.variance is "
                f"{self.variance!r}; needed are learned_range or learned"
            )

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Scores:
        """Return the loss of examples with this noise at these times; one network evaluation."""
        x = self.noised(examples.x0, t, eps)
        prediction = model.predict_fn(self.process)(x, t)
        fixed = prediction._replace(x0=jax.lax.stop_gradient(prediction.x0))
        simple = errors(self.weighting(self.process, t), prediction, examples.x0, eps)
        return {"loss": simple + self.vlb_weight * self.process.n * self.bound(examples.x0, x, t, fixed)}
