"""The terms L_t of a chain's variational bound as a training loss: n L_t estimates the bound without its prior."""

import dataclasses
from typing import Annotated, ClassVar

from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from sde_lib import ChainTables, NoiseLevels, Prediction
from sde_lib.variational import step_bits
from training.examples import Examples
from training.losses.base import NoisedLoss
from training.model import Scores, TrainedModel

Image = Float[Array, "b *d"]


@dataclasses.dataclass(frozen=True, eq=False)
class Variational(NoisedLoss):
    """The loss is n L_t in bits/dim (Ho et al. 2020, arXiv:2006.11239, eq. 5); at level 0 L_t is the decoder's.

    Attributes:
      variance: the variance of the reverse steps, a name of `sde_lib.VARIANCES`; the learned ones are trained too.

    Raises:
      ValueError: the process has no levels.
    """

    process: NoiseLevels
    variance: Annotated[str, FIELDS["training.variance"]] = "learned_range"
    of_levels = True
    needs_grey_levels = True
    ignores: ClassVar[tuple[str, ...]] = ("reduce_mean",)

    @property
    def needs_variance(self) -> bool:
        """Whether the variance is the network's."""
        return self.variance.startswith("learned")

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Image) -> Scores:
        """Return the loss of examples with this noise at these times; one network evaluation."""
        x = self.noised(examples.x0, t, eps)
        return {"loss": self.process.n * self.bound(examples.x0, x, t, model.predict_fn(self.process)(x, t))}

    def bound(self, x0: Image, x: Image, t: Float[Array, " b"], prediction: Prediction) -> Float[Array, " b"]:
        """Return L_t at x = x_t, for the reverse step of a prediction."""
        tables, i = ChainTables.of(self.process.sde, self.process.n), self.process.sde.level_index(t, self.process.n)
        half_bin, bounds = None, (-1.0, 1.0)
        if self.grey_levels is not None:
            first, last = float(self.grey_levels[0]), float(self.grey_levels[-1])
            half_bin, bounds = 0.5 * (last - first) / (len(self.grey_levels) - 1), (first, last)
        log_variance = tables.log_variance(self.variance, x, i, prediction.variance)
        return step_bits(tables, x0, x, i, prediction.x0, log_variance, half_bin=half_bin, bounds=bounds)
