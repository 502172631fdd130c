"""One optimisation step as a pure function of (state, batch, key), in one phase or in several after each other."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from training.draws import AXIS, PLACE
from training.examples import Batch
from training.model import Scores, Weights
from training.optimizer import global_norm
from training.state import TrainState

Metrics = dict[str, Array]


class Gradient(NamedTuple):
    """What a micro-batch adds to a phase: the sum over all devices and micro-batches is that of the global batch.

    Attributes:
      loss: the loss, divided by the number of micro-batches.
      params: its gradient by the names of the weights that the phase trains.
      seen: whatever else the update takes. Of a loss that learns from what it sees, it is the scores of each example at
        its place, [B] each, elsewhere 0; None where there is nothing.
    """

    loss: Array
    params: Weights
    seen: Any


@dataclass(frozen=True)
class Phase:
    """A gradient, and what becomes of the state by it; the update of a step's last phase counts the step.

    Attributes:
      gradient: of a micro-batch, by the state that the phase before has left, and the training's key.
      update: makes the new state by the sum of the gradients of all micro-batches, and metrics.
      trained: the weights that the gradient is of, as a part of the state.
    """

    gradient: Callable[[TrainState, Batch, Key[Array, ""]], Gradient]
    update: Callable[[TrainState, Gradient], tuple[TrainState, Metrics]]
    trained: Callable[[TrainState], Weights] = attrgetter("params")


@dataclass(frozen=True)
class TrainStep:
    """``step(state, batch, key) -> (state, metrics)``: its phases after each other, all of the same batch.

    A device takes `micro_batches` one after another in each phase. The metrics are those of all phases, whose names
    differ.
    """

    phases: tuple[Phase, ...]
    micro_batches: int = 1

    def __call__(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        """Make a step by a batch that is one micro-batch, as one program."""
        metrics: Metrics = {}
        for phase in self.phases:
            state, found = phase.update(state, phase.gradient(state, batch, key))
            metrics |= found
        return state, metrics


def make_train_step(
    scores: Callable[..., Scores],
    optimizer: optax.GradientTransformation,
    *,
    ema: Callable[[Array], Array],
    learn: Callable[[Any, Scores], Any] = lambda state, scores: state,
    average: bool = False,
    target_decay: Callable[[Array], Array] | None = None,
    nan_to_num: bool = False,
    axis_size: int = 1,
    micro_batches: int = 1,
) -> TrainStep:
    """Return the step of one phase as a pure function; step n's key is ``fold_in(key, n)``.

    Gradients and loss are averaged over the devices by ``lax.pmean``, once a step, behind the sum over micro-batches
    that each device makes.

    Args:
      scores: ``(variables, batch, key, train, state) -> scores`` [b] by name (`training.model.batch_scores`).
      optimizer: what follows the gradient.
      ema: the average's decay at update n = 1, 2, ...
      learn: ``(state, scores) -> state`` of a loss with a state, for the scores of a whole batch.
      average: whether the loss is given the average of the weights before the step.
      target_decay: the decay of the target network, of a loss that has one, behind step n = 0, 1, ...
      nan_to_num: whether what is not finite in the averaged gradient becomes 0 (NaN) or +-1e5, as in EDM's training.
      axis_size: the number of devices that compute their own losses.
      micro_batches: the number of parts that a device takes its share of a batch in.

    The metrics are loss, grad_norm (before clipping), and with `nan_to_num` replaced, how many numbers it replaced.
    """

    def at_its_place(batch: Batch, values: Array) -> Array:
        """The values [b] in an array [B] of the global batch."""
        parts = axis_size * micro_batches
        return jnp.zeros(parts * len(values), values.dtype).at[batch[PLACE]].set(values) if parts > 1 else values

    def gradient(state: TrainState, batch: Batch, key: Key[Array, ""]) -> Gradient:
        step_key = jax.random.fold_in(key, state.step)
        beside = {"fixed": state.fixed, "step": state.step, "target": state.target, "teacher": state.teacher}
        if average:
            beside["average"] = state.ema

        def mean_loss(params: Weights) -> tuple[Array, Scores | None]:
            found = scores({"params": params, **beside}, batch, step_key, True, state.loss)
            seen = None if state.loss is None else jax.lax.stop_gradient(found)
            return jnp.mean(found["loss"]) / micro_batches, seen

        (loss, seen), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        return Gradient(loss, grads, jax.tree.map(partial(at_its_place, batch), seen))

    def update(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        loss, grads, seen = gradient
        if axis_size > 1:
            loss, grads = jax.lax.pmean((loss, grads), AXIS)
        learnt = None
        if seen is not None:
            learnt = learn(state.loss, jax.lax.psum(seen, AXIS) if axis_size > 1 else seen)
        moved, metrics = descended(state, grads, optimizer, ema, nan_to_num=nan_to_num)
        target = state.target
        if target is not None and target_decay is not None:
            target = optax.incremental_update(moved.params, target, 1.0 - target_decay(state.step))
        return moved._replace(step=state.step + 1, loss=learnt, target=target), {"loss": loss, **metrics}

    return TrainStep((Phase(gradient, update),), micro_batches)


def measured(grads: Weights, *, nan_to_num: bool, prefix: str = "") -> tuple[Weights, Metrics]:
    """Return a gradient as it is descended, and its metrics by names that begin with `prefix`, as `make_train_step`."""
    metrics: Metrics = {}
    if nan_to_num:
        leaves = jax.tree.leaves(grads)
        replaced = sum((jnp.sum(~jnp.isfinite(leaf), dtype=float) for leaf in leaves), jnp.zeros(()))
        metrics[f"{prefix}replaced"] = replaced
        grads = jax.tree.map(lambda leaf: jnp.nan_to_num(leaf, nan=0.0, posinf=1e5, neginf=-1e5), grads)
    return grads, {**metrics, f"{prefix}grad_norm": global_norm(grads)}


def descended(
    state: TrainState,
    grads: Weights,
    optimizer: optax.GradientTransformation,
    ema: Callable[[Array], Array],
    *,
    nan_to_num: bool = False,
) -> tuple[TrainState, Metrics]:
    """Return the state whose weights, averages and optimiser have moved by a gradient, and the metrics of that.

    The step is not counted yet. The arguments and the metrics are those of `make_train_step`.
    """
    grads, metrics = measured(grads, nan_to_num=nan_to_num)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params, step = optax.apply_updates(state.params, updates), state.step + 1
    averaged = optax.incremental_update(params, state.ema, 1.0 - ema(step))
    averages = state.averages and state.averages.updated(params, step)
    return state._replace(params=params, ema=averaged, opt_state=opt_state, averages=averages), metrics
