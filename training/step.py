"""One optimisation step as a pure function of (state, batch, key)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

import sde_lib
from data.augment import random_flip
from data.geometry import augment
from data.scaling import Scaler
from experiment.schedule import parameters_of
from models.conditions import NO_CLASS, one_hot
from models.functional import Network
from training import vdm
from training.draws import AXIS, PLACE, Draws
from training.importance import LossHistory
from training.objective import Objective
from training.optimizer import global_norm
from training.state import Tensors, TrainState

Batch = dict[str, Any]
"""Arrays [b, ...] of examples: "image", and "label" where the network is told of classes."""
Metrics = dict[str, Array]


class Gradient(NamedTuple):
    """What a micro-batch adds to a step: the sum over all devices and micro-batches is that of the global batch.

    Attributes:
      loss: the loss, divided by the number of micro-batches.
      params: its gradient by the weights' names.
      seen: for a `LossHistory` the level [B] and the loss [B] of each example at its place, elsewhere 0; else None.
    """

    loss: Array
    params: Tensors
    seen: tuple[Array, Array] | None


@dataclass(frozen=True)
class TrainStep:
    """``step(state, batch, key) -> (state, metrics)``: the gradient, and what becomes of the state by it.

    Attributes:
      gradient: the `Gradient` of a micro-batch.
      update: the step that a device makes by its sum over `micro_batches`.
      micro_batches: how many a device takes one after another.
    """

    gradient: Callable[[TrainState, Batch, Key[Array, ""]], Gradient]
    update: Callable[[TrainState, Gradient], tuple[TrainState, Metrics]]
    micro_batches: int = 1

    def __call__(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        """Make a step by a batch that is one micro-batch, as one program."""
        return self.update(state, self.gradient(state, batch, key))


def batch_losses(
    objective: Objective,
    network: Network,
    scaler: Scaler,
    *,
    parameterization: sde_lib.Parameterization,
    random_flips: bool,
    augment_probability: float = 0.0,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    parts: int,
) -> Callable[..., Any]:
    """``(variables, batch, key, train) -> losses [b]`` of one of `parts` equal parts of a global batch.

    Example j of the global batch draws everything (flip, dequantisation, augmentation, t, noise, dropout) from its own
    key ``fold_in(key, j)``, so the losses do not depend on the number of devices and micro-batches. The batch gives
    the places j of its examples under the name `draws.PLACE`; without them it is the whole. With an
    `augment_probability` the images are EDM's augmented ones, and the network is told by their labels in
    ``condition["augment"]``.

    With `num_classes` the network is told of the batch's labels in ``condition["label"]``, one-hot; in training each is
    dropped, all zeros, with probability `label_dropout`, so that the network learns the unconditional score as well
    (Ho and Salimans 2022, arXiv:2207.12598).

    With a `LossHistory` as fifth argument levels are drawn by it. The result is then the losses, which are so weighted
    that their expectation is the same, and what the history learns: level and unweighted loss of each example [b].
    """

    def losses(
        variables: dict, batch: Batch, key: Key[Array, ""], train: bool, history: LossHistory | None = None
    ) -> Array | tuple[Array, tuple[Array, Array]]:
        draws = Draws.of_batch(key, batch, parts)
        x0 = scaler.encode(batch["image"], draws.dequantize)
        if random_flips and train:
            x0 = random_flip(draws.flip, x0)
        condition = {}
        if augment_probability and train:
            x0, condition["augment"] = augment(
                jax.vmap(jax.random.fold_in, (0, None))(draws.each, 5), x0, augment_probability
            )
        if num_classes:
            label = batch["label"]
            if label_dropout and train:
                drop = jax.vmap(lambda k: jax.random.bernoulli(jax.random.fold_in(k, 6), label_dropout))(draws.each)
                label = jnp.where(drop, NO_CLASS, label)
            condition["label"] = one_hot(label, num_classes)
        eps = draws.eps(x0)

        def apply(params: dict, x: Array, c_noise: Array) -> Array:
            return network.apply(
                {**variables, "params": params}, x, c_noise, condition or None, keys=draws.dropout if train else None
            )

        def predict_fn(process: sde_lib.AffineSDE | sde_lib.Levels, params: dict) -> sde_lib.PredictFn:
            return parameterization.predict_fn(process, partial(apply, params))

        params = variables["params"]
        p = None if history is None else history.probabilities(objective.uniform_probability)
        t = objective.times(draws.batch, draws.time, draws.place, draws.size, p).astype(x0.dtype)
        if objective.loss == "vdm":
            eps0 = draws._replace(noise=jax.vmap(jax.random.fold_in, (0, None))(draws.noise, 0)).eps(x0)
            levels = None if scaler.levels is None or scaler.dequantization == "uniform" else scaler.centres()
            return vdm.bound(objective, predict_fn, parameters_of(params), params, x0, t, eps, eps0, levels).total
        values = objective.losses(predict_fn(objective.process, params), x0, t, eps)
        if p is None:
            return values
        level = objective.sde.level_index(t, len(p))
        return values / (len(p) * p[level]), jax.lax.stop_gradient((level, values))

    return losses


def make_train_step(
    losses: Callable[..., Array],
    optimizer: optax.GradientTransformation,
    *,
    ema: Callable[[Array], Array],
    nan_to_num: bool = False,
    axis_size: int,
    micro_batches: int = 1,
) -> TrainStep:
    """The step as a pure function, whole or in its two parts; step n's key is ``fold_in(key, n)``.

    Gradients and loss are averaged over the devices by ``lax.pmean``, once a step, behind the sum over `micro_batches`
    that is made on each. `ema` is the average's decay at update n = 1, 2, ... With `nan_to_num` what is not finite in
    the averaged gradient becomes 0 (NaN) or +-1e5, as in EDM's training.
    Metrics: loss, grad_norm (before clipping), and with `nan_to_num` replaced, how many numbers it replaced.
    """

    def gradient(state: TrainState, batch: Batch, key: Key[Array, ""]) -> Gradient:
        step_key = jax.random.fold_in(key, state.step)

        def mean_loss(params: dict) -> tuple[Array, tuple[Array, Array] | None]:
            arguments = {"params": params, "fixed": state.fixed}, batch, step_key, True
            values, seen = (losses(*arguments), None) if state.history is None else losses(*arguments, state.history)
            return jnp.mean(values) / micro_batches, seen

        (loss, seen), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        return Gradient(loss, grads, seen and jax.tree.map(partial(_at_its_place, batch), seen))

    def _at_its_place(batch: Batch, values: Array) -> Array:
        """The values [b] in an array [B] of the global batch."""
        parts = axis_size * micro_batches
        return jnp.zeros(parts * len(values), values.dtype).at[batch[PLACE]].set(values) if parts > 1 else values

    def update(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        loss, grads, seen = gradient
        if axis_size > 1:
            loss, grads = jax.lax.pmean((loss, grads), AXIS)
        metrics, history = {"loss": loss}, state.history
        if history is not None and seen is not None:
            history = history.updated(*(jax.lax.psum(seen, AXIS) if axis_size > 1 else seen))
        if nan_to_num:
            leaves = jax.tree.leaves(grads)
            metrics["replaced"] = sum((jnp.sum(~jnp.isfinite(leaf), dtype=float) for leaf in leaves), jnp.zeros(()))
            grads = jax.tree.map(lambda leaf: jnp.nan_to_num(leaf, nan=0.0, posinf=1e5, neginf=-1e5), grads)
        metrics["grad_norm"] = global_norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        average = optax.incremental_update(params, state.ema, 1.0 - ema(step))
        return TrainState(step, params, average, state.fixed, opt_state, history), metrics

    return TrainStep(gradient, update, micro_batches)
