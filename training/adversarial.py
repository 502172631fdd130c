"""The training step of a generator against a discriminator: a phase of each, of the same examples and new noise.

Each descends the mean of its loss over the batches of all devices. No example's loss depends on the others of a batch,
so the step does not depend on how that is split.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from experiment.generators import of_noise
from models.functional import Network
from training.autoencoders import patch_discriminator
from training.draws import AXIS, PLACE, Draws
from training.examples import Batch, Encoder, Examples
from training.losses.adversarial import Adversarial, Discriminator
from training.model import Scores, Weights
from training.state import TrainState
from training.step import Gradient, Metrics, Phase, TrainStep, descended, measured


class Rival(NamedTuple):
    """The discriminator that a generator is trained against, the state of its loss.

    Attributes:
      params: its weights.
      opt_state: of its optimiser.
    """

    params: Weights
    opt_state: Any


def discriminator_of(loss: Adversarial, shape: tuple[int, ...]) -> Network:
    """Return the discriminator of a loss, for images [height, width, channels].

    Raises:
      ValueError: an option that no discriminator can be built from, or images that are too small for its layers.
    """
    return patch_discriminator(shape, loss.disc_layers, loss.disc_channels, "none")


def beginning(discriminator: Network, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> Rival:
    """Return the discriminator before the first step."""
    params = discriminator.init(key)["params"]
    return Rival(params, optimizer.init(params))


def make_adversarial_step(
    loss: Adversarial,
    network: Network,
    discriminator: Network,
    encoder: Encoder,
    optimizer: optax.GradientTransformation,
    *,
    ema: Callable[[Array], Array],
    spread: Callable[[Callable], Callable] = lambda function: function,
    nan_to_num: bool = False,
    axis_size: int = 1,
    micro_batches: int = 1,
) -> TrainStep:
    """Return the step: the discriminator moves, then the generator against it; step n's key is ``fold_in(key, n)``.

    The metrics are the scores that `training.losses.adversarial` names, with the norms of both gradients.

    Args:
      loss: the loss and its options.
      network: the generator, from noise to examples of one shape.
      discriminator: what `discriminator_of` returns.
      encoder: from stored records to examples.
      optimizer: what follows the gradients, of both phases alike, each with a state of its own.
      ema: the decay of the generator's average at update n = 1, 2, ...
      spread: how the devices spread a function of ``(variables, batch, ...)`` (`Devices.spread`).
      nan_to_num, axis_size, micro_batches: as of `make_train_step`, of both gradients.
    """
    parts = axis_size * micro_batches

    def examples_of(batch: Batch, key: Key[Array, ""]) -> Examples:
        b = len(next(iter(batch.values())))
        return encoder(batch, Draws.of(key, batch[PLACE] if PLACE in batch else jnp.arange(b), parts * b), True)[0]

    def judge(params: Weights) -> Discriminator:
        def logits(x: Array) -> Float[Array, " b"]:
            found = discriminator.apply({"params": params, "fixed": {}}, x)
            return jnp.mean(found.reshape(len(found), -1), axis=1)

        return logits

    def sampled(variables: dict, like: Array, draws: Draws) -> Array:
        own = {name: variables[name] for name in ("params", "fixed")}
        return of_noise(network, own, draws.eps(like), draws.dropout)

    @spread
    def of_discriminator(variables: dict, batch: Batch, key: Key[Array, ""]) -> Scores:
        x0, _, draws, _ = examples_of(batch, key)
        fake = jax.lax.stop_gradient(sampled(variables, x0, draws))
        return loss.of_discriminator(judge(variables["rival"]), x0, fake, draws, variables["step"])

    @spread
    def of_generator(variables: dict, batch: Batch, key: Key[Array, ""]) -> Scores:
        x0, _, draws, _ = examples_of(batch, key)
        return loss.of_generator(judge(variables["rival"]), x0, sampled(variables, x0, draws.again()))

    def descending(
        scores: Callable[..., Scores], name: str, given: Callable[[TrainState, Weights], dict]
    ) -> Callable[[TrainState, Weights, Batch, Key[Array, ""]], Gradient]:
        """The gradient of the mean of a score by the weights that `given` puts among the variables."""

        def gradient(state: TrainState, weights: Weights, batch: Batch, key: Key[Array, ""]) -> Gradient:
            def mean(weights: Weights) -> tuple[Array, Metrics]:
                found = scores(given(state, weights), batch, jax.random.fold_in(key, state.step))
                means = {term: jnp.mean(each) / micro_batches for term, each in found.items()}
                return means[name], means

            (value, terms), grads = jax.value_and_grad(mean, has_aux=True)(weights)
            return Gradient(value, grads, terms)

        return gradient

    def together(state: TrainState, params: Weights, rival: Weights) -> dict:
        return {"params": params, "fixed": state.fixed, "rival": rival, "step": state.step}

    of_rival = descending(of_discriminator, "disc_loss", lambda state, rival: together(state, state.params, rival))
    of_own = descending(of_generator, "loss", lambda state, params: together(state, params, state.loss.params))

    def mean(gradient: Gradient) -> Gradient:
        """The mean over the devices."""
        return jax.lax.pmean(gradient, AXIS) if axis_size > 1 else gradient

    def move_rival(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        _, grads, terms = mean(gradient)
        grads, metrics = measured(grads, nan_to_num=nan_to_num, prefix="disc_")
        rival = state.loss
        steps, opt_state = optimizer.update(grads, rival.opt_state, rival.params)
        moved = Rival(optax.apply_updates(rival.params, optax.tree.scale(loss.disc_lr_ratio, steps)), opt_state)
        return state._replace(loss=moved), {**terms, **metrics}

    def move(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        _, grads, terms = mean(gradient)
        moved, metrics = descended(state, grads, optimizer, ema, nan_to_num=nan_to_num)
        return moved._replace(step=state.step + 1), {**terms, **metrics}

    phases = (
        Phase(
            lambda state, batch, key: of_rival(state, state.loss.params, batch, key),
            move_rival,
            lambda state: state.loss.params,
        ),
        Phase(lambda state, batch, key: of_own(state, state.params, batch, key), move),
    )
    return TrainStep(phases, micro_batches)
