"""The model that is trained, as a loss sees it, and the scores of a loss for stored records."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from conditions import Condition, with_end
from models.functional import Network
from sde_lib import (
    AffineSDE,
    BeliefFn,
    CategoricalProcess,
    CategoricalReading,
    FeaturesFn,
    LogitsFn,
    NoiseLevels,
    Parameterization,
    Plain,
    PredictFn,
    features_fn,
    logits_fn,
)
from training.draws import PLACE, Draws
from training.examples import Batch, Encoder, Examples

Weights = dict[str, Array]
Scores = dict[str, Float[Array, " b"]]
"""The "loss" of each example, which is averaged and descended, and whatever else is told of it."""

Teacher = Callable[[dict[str, Any], Condition], PredictFn]
"""(a teacher's variables, what the student is told of a batch) -> its predictions of that batch."""


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The network with the weights that are trained, for one batch: it knows the batch's condition and its dropout.

    Attributes:
      network: (weights by name, x [b, ...], noise label [b]) -> the output; one that is told where a jump ends takes
        that [b] too. With the keyword `none` it is told nothing else of the examples.
      params: the weights, among them those of a learned noise schedule.
      parameterization: what the output means.
      average: the moving average of the weights before the step, which has no gradient. Only a loss that sets
        `needs_average` is given it, and only in a training step: elsewhere `params` is the average already.
      target: the weights of the target network of a loss that sets `needs_target`; None where the average is tested.
      teacher: the predictions of ``training.teacher`` along its own process, for the same batch, without dropout and
        without a gradient; None where there is none.
      step: the number of the training step, 0, 1, ...; None where the average is tested, as if behind the last one.
      told: whether the network is told anything of each example; None where it takes no condition.
      module: weights by name -> the network's module, of a network that has further methods.
      keys: those of the dropout [b], which the methods of a module take; None where it is tested.
    """

    network: Callable[..., Array]
    params: Weights
    parameterization: Parameterization | CategoricalReading
    average: Weights | None = None
    target: Weights | None = None
    teacher: PredictFn | None = None
    step: Int[Array, ""] | None = None
    told: Bool[Array, " b"] | None = None
    module: Callable[[Weights], Any] | None = None
    keys: Key[Array, " b"] | None = None

    def predict_fn(
        self, process: AffineSDE | NoiseLevels, params: Weights | None = None, *, none: bool = False
    ) -> PredictFn:
        """Return the predictions along a process, of these weights or of others; one network evaluation a call.

        With `none` they are those of a network that is told nothing of the examples.
        """
        weights, how = self.params if params is None else params, {"none": True} if none else {}
        how_read = cast(Parameterization, self.parameterization)
        return how_read.predict_fn(process, lambda x, *told: self.network(weights, x, *told, **how))

    def belief_fn(self, process: CategoricalProcess) -> BeliefFn:
        """Return what a network of categories says along a process; one network evaluation a call."""
        reading = cast(CategoricalReading, self.parameterization)
        return reading.belief_fn(process, lambda x, *told: self.network(self.params, x, *told))

    def logits_fn(self, process: AffineSDE | NoiseLevels) -> LogitsFn:
        """Return what a classifier says of noisy data; one network evaluation a call."""
        label = cast(Plain, self.parameterization).noise_label  # a classifier has no preconditioning
        return logits_fn(process, lambda x, c_noise: self.network(self.params, x, c_noise), label)

    def features_fn(self, process: AffineSDE | NoiseLevels) -> FeaturesFn:
        """Return what a CLIP sees in noisy images; one evaluation of its image tower a call."""
        assert self.module
        label = cast(Plain, self.parameterization).noise_label  # a CLIP has no preconditioning
        return features_fn(process, self.module(self.params).encode_image, label)


def batch_scores(
    loss: Callable[[TrainedModel, Examples, Any], Scores],
    network: Network,
    parameterization: Parameterization | CategoricalReading,
    encoder: Encoder,
    *,
    parts: int = 1,
    teacher: Teacher | None = None,
) -> Callable[..., Scores]:
    """Return ``(variables, batch, key, train, state=None) -> scores`` [b] by name, "loss" among them.

    The batch is one of `parts` equal parts of a global batch. Example j of that draws everything (flip,
    dequantisation, augmentation, t, noise, dropout) from its own key ``fold_in(key, j)``, so the scores do not depend
    on the number of devices and micro-batches. `state` is the loss's own; without one it is a loss that has learnt
    nothing. A batch gives the places of its examples under the name `PLACE`; without them it is the whole. Beside the
    variables that the network is applied with there may be an "average" and a "target" of the weights, the number of
    the "step", and the variables of the `teacher`.
    """

    def scores(variables: dict, batch: Batch, key: Key[Array, ""], train: bool, state: Any = None) -> Scores:
        b = len(next(iter(batch.values())))
        draws = Draws.of(key, batch[PLACE] if PLACE in batch else jnp.arange(b), parts * b)
        examples, condition = encoder(batch, draws, train)
        keys = draws.dropout if train else None
        own = {name: value for name, value in variables.items() if name in ("params", "fixed")}

        def module(params: Weights) -> Any:
            return network.module({**own, "params": params})

        nothing = condition | encoder.conditioner.none(condition)

        def apply(params: Weights, x: Array, c_noise: Array, *end: Array, none: bool = False) -> Array:
            told = with_end(nothing if none else condition, *end)
            return network.apply({**own, "params": params}, x, c_noise, told, keys=keys)

        beside = {name: variables.get(name) for name in ("average", "target", "step")}
        beside["told"] = encoder.conditioner.told(condition) if encoder.conditioner.fields else None
        if teacher:
            beside["teacher"] = teacher(variables["teacher"], condition)
        model = TrainedModel(apply, variables["params"], parameterization, module=module, keys=keys, **beside)
        return loss(model, examples, state)

    return scores
