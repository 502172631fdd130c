"""What a loss is: a batch of examples and the model in training go in, scores of each example come out."""

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
import optax
from jaxtyping import Array, Float, Int

from limits import check_declared
from sde_lib import AffineSDE, NoiseLevels, expand
from training.draws import Draws
from training.examples import Examples
from training.model import Scores, TrainedModel
from training.times import LOSS_AWARE, LossHistory, Times

Process = AffineSDE | NoiseLevels
GreyLevels = Float[np.ndarray, " n"] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Loss(abc.ABC):
    """A training loss: pure, per example, and independent of how a batch is split over devices and micro-batches.

    A loss that compares the examples of a batch with each other (`compares`) is independent of the devices alone.

    A loss that learns from what it sees has a state, a NamedTuple of arrays: `init` makes it, the scores of every part
    of a batch are computed with the same one, and `updated` is given those of the whole batch, in its order. So the
    state is the same on every device, and no loss has to know of devices.

    Attributes:
      process: what noises the data: an SDE, or its `NoiseLevels` in discrete training; of a loss `of_categories` a
        `sde_lib.CategoricalProcess`.
      grey_levels: the centres of all grey levels in x, where data are grey levels; None where they are continuous.

    Raises:
      ValueError: an option is out of its range, noise levels for a loss of continuous time, or the other way round.
    """

    process: Process
    grey_levels: GreyLevels = None

    of_levels: ClassVar[bool | None] = None
    """Whether its process must be noise levels, or else must not be; None: whichever."""
    needs_average: ClassVar[bool] = False
    """Whether it asks for the average of the weights (`TrainedModel.average`)."""
    takes_teacher: ClassVar[bool] = False
    """Whether it can learn from a teacher (`TrainedModel.teacher`)."""
    needs_teacher: ClassVar[bool] = False
    """Whether it cannot do without one."""
    needs_target: ClassVar[bool] = False
    """Whether it has a target network: an average of the weights with a rate of its own (`TrainedModel.target`)."""
    preconditioning: ClassVar[str | None] = None
    """The preconditioning that its network must have; None: whichever."""
    tunes: ClassVar[bool] = False
    """Whether it tunes the weights of a trained network, without which it does not begin."""
    trains_jumps: ClassVar[bool] = False
    """Whether the network must be told where a jump ends."""
    prediction: ClassVar[str | None] = None
    """What the network must predict; None: whatever."""
    needs_classifier: ClassVar[bool] = False
    """Whether the network is a classifier, which no other loss trains."""
    needs_matcher: ClassVar[bool] = False
    """Whether the network compares images with texts, which no other loss trains."""
    needs_autoencoder: ClassVar[bool] = False
    """Whether the network is an autoencoder, which no other loss trains."""
    needs_likelihood: ClassVar[bool] = False
    """Whether the autoencoder says a likelihood of data (`models.GENERATORS`), which no other loss trains."""
    trains_generator: ClassVar[bool] = False
    """Whether what it trains makes data of noise in one evaluation, and says nothing of a noise process."""
    compares: ClassVar[bool] = False
    """Whether it compares the examples of a batch with each other, so that a batch cannot be cut into micro-batches."""
    of_categories: ClassVar[bool] = False
    """Whether it is of a process over categories, and of a network that gives their probabilities."""
    needs_grey_levels: ClassVar[bool] = False
    """Whether grey levels must come as they are, without uniform dequantisation."""
    ignores: ClassVar[tuple[str, ...]] = ()
    """Options of other losses that recipes set for all, and that mean nothing here."""
    leaves_out: ClassVar[bool] = False
    """Whether it is of the points alone that there are, of sets of which points may be absent."""
    trains_schedule: ClassVar[bool] = False
    """Whether it trains the parameters of a learned noise schedule."""

    def __post_init__(self) -> None:
        check_declared("training.", self)
        if self.of_levels is False and isinstance(self.process, NoiseLevels):
            raise ValueError(
                f"training.loss is one of continuous time ({type(self).__name__}), and training.continuous False; set "
                "it to True, or take another loss"
            )
        if self.of_levels and not isinstance(self.process, NoiseLevels):
            raise ValueError(
                f"training.loss is one of noise levels ({type(self).__name__}), and training.continuous True; set "
                "training.continuous=False and model.num_scales, or take another loss"
            )

    @property
    def needs_variance(self) -> bool:
        """Whether it trains a variance, which the network must predict."""
        return False

    @property
    def needs_pairs(self) -> bool:
        """Whether its examples are pairs that a teacher's flow has joined (`training.reflow`)."""
        return False

    @property
    def guides(self) -> bool:
        """Whether what it learns is guided by the condition, so that the network must take one and have it dropped."""
        return False

    def init(self) -> Any:
        """Return the state before the first step; None where the loss has none."""
        return None

    def target_decay(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Return mu of target <- mu target + (1 - mu) weights, made after step 0, 1, ... of a loss with a target."""
        raise NotImplementedError(f"{type(self).__name__} has no target network")

    def check_part(self, examples: int) -> None:  # noqa: B027  # most take any
        """Refuse, with a ValueError, a number of examples that a device takes at once; any will do but for some."""

    def bounded(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """Return the optimiser whose steps keep the weights within what the loss allows them; most allow anything."""
        return optimizer

    @abc.abstractmethod
    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the scores of each example; without a state those of a loss that has learnt nothing."""

    def updated(self, state: Any, scores: Scores) -> Any:
        """Return the state after a step whose whole batch had these scores."""
        return state


@dataclasses.dataclass(frozen=True, eq=False)
class NoisedLoss(Loss):
    """A loss of examples that are noised to one drawn time each: x_t = alpha x_0 + sigma eps.

    With "loss_aware" times its expectation stays that of levels drawn as often: a loss counts 1 / (n p_i).

    Attributes:
      times: how t is drawn.

    Raises:
      ValueError: continuous time is to be drawn of levels, or levels of continuous time.
    """

    times: Times = Times()

    def __post_init__(self) -> None:
        super().__post_init__()
        sampling, of_levels = self.times.time_sampling, isinstance(self.process, NoiseLevels)
        if of_levels and sampling not in ("uniform", LOSS_AWARE):
            raise ValueError(
                f"training.time_sampling is {sampling!r}, a distribution of continuous time; with "
                "training.continuous=False it must be 'uniform', each noise level as often, or 'loss_aware'"
            )
        if sampling == LOSS_AWARE and not of_levels:
            raise ValueError(
                "training.time_sampling is 'loss_aware', which is for noise levels; set training.continuous=False and "
                "model.num_scales"
            )

    @abc.abstractmethod
    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Scores:
        """Return the scores of examples with this noise at these times."""

    def draw_times(self, draws: Draws, state: LossHistory | None = None) -> Float[Array, " b"]:
        """Return t for each example; levels are drawn by the state where there is one."""
        return self.times(self.process, draws, state)

    def noised(self, x0: Float[Array, "b *d"], t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Array:
        """Return x_t."""
        mean, std = self.process.marginal(x0, t)
        return mean + expand(std, x0) * eps

    def init(self) -> LossHistory | None:
        """Return the empty history of "loss_aware" times; None for others."""
        if self.times.time_sampling == LOSS_AWARE and isinstance(self.process, NoiseLevels):
            return LossHistory.create(self.process.n, self.times.loss_history)
        return None

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the scores at drawn times."""
        eps = examples.draws.eps(examples.x0)
        t = self.draw_times(examples.draws, state).astype(examples.x0.dtype)
        scores = self.at(model, examples, t, eps)
        if state is None or not isinstance(self.process, NoiseLevels):
            return scores
        level, loss = self.process.sde.level_index(t, self.process.n), scores["loss"]
        p = state.probabilities(self.times.uniform_probability)
        return scores | {"loss": loss / (len(p) * p[level]), "unweighted": loss, "level": level}

    def updated(self, state: Any, scores: Scores) -> Any:
        """Return the history with the losses of a batch."""
        return state and state.updated(scores["level"], scores["unweighted"])
