"""The training step of an autoencoder: a phase of its own, and one of the discriminator, where there is one.

Both phases take the gradient of what their loss is over the batches of all devices. The adaptive weight is of averaged
gradients as well, so that it does not depend on the number of devices.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from autoencoders.codebook import usage_of
from models import lpips
from models.functional import Network
from training.draws import AXIS, PLACE, Draws
from training.examples import Batch, Encoder
from training.losses.autoencoder import (
    DISCRIMINATOR_LOSSES,
    LAST_LAYER,
    AutoencoderLoss,
    Compressed,
    Model,
    regulariser_name,
)
from training.model import Scores, Weights
from training.state import TrainState
from training.step import Gradient, Metrics, Phase, TrainStep, descended, measured

Images = Float[Array, "b h w c"]
LOGVAR = "logvar"


class Beside(NamedTuple):
    """What is trained beside the autoencoder, the state of its loss.

    Attributes:
      params, fixed: the discriminator's weights and running statistics; both empty where there is none.
      opt_state: of the discriminator's optimiser.
      initialised: whether a batch has given its actnorm the first scale and shift.
      logvar: the log-variance under its name, where it is learned, with the state of its optimiser; else empty.
    """

    params: Weights
    fixed: Weights
    opt_state: Any
    initialised: Bool[Array, ""]
    logvar: Weights
    logvar_state: Any


def discriminator_of(loss: AutoencoderLoss, shape: tuple[int, ...]) -> Network | None:
    """Return the discriminator of a loss, for images [height, width, channels]; None where it has none.

    Raises:
      ValueError: an option that no discriminator can be built from, or images that are too small for its layers.
    """
    if not loss.adversarial:
        return None
    return patch_discriminator(shape, loss.disc_layers, loss.disc_channels, loss.disc_norm)


def patch_discriminator(shape: tuple[int, ...], layers: int, channels: int, norm: str) -> Network:
    """Return the discriminator of patches of this size and norm, for images [height, width, channels].

    Raises:
      ValueError: an option that no discriminator can be built from, or images that are too small for its layers.
    """
    network = Network.create("patch_discriminator", num_channels=shape[-1], num_layers=layers, nf=channels, norm=norm)
    image, noise = (jax.ShapeDtypeStruct((1, *each), jnp.float32) for each in (shape, ()))
    try:
        jax.eval_shape(network.apply, network.abstract(), image, noise)
    except ValueError as error:
        raise ValueError(f"training.disc_layers is {layers}: {error}") from error
    return network


def beginning(
    loss: AutoencoderLoss, discriminator: Network | None, optimizer: optax.GradientTransformation, key: Key[Array, ""]
) -> Beside | None:
    """Return the state of the loss before the first step; None where nothing is trained beside the autoencoder."""
    if discriminator is None and not loss.learn_logvar:
        return None
    drawn = discriminator.init(key) if discriminator else {"params": {}, "fixed": {}}
    logvar = {LOGVAR: jnp.asarray(loss.logvar_init, jnp.float32)} if loss.learn_logvar else {}
    states = (optimizer.init(drawn["params"]) if discriminator else (), optimizer.init(logvar) if logvar else ())
    return Beside(drawn["params"], drawn["fixed"], states[0], jnp.asarray(False), logvar, states[1])


def reconstruction_scores(loss: AutoencoderLoss, network: Network, encoder: Encoder) -> Callable[..., Scores]:
    """Return ``(variables, batch, key, train) -> scores`` [b] by name, of a whole batch, as `batch_scores` does.

    The weights of the perceptual distance are the variables' "perceptual".
    """

    def scores(variables: dict, batch: Batch, key: Key[Array, ""], train: bool) -> Scores:
        b = len(next(iter(batch.values())))
        examples, _ = encoder(batch, Draws.of(key, jnp.arange(b), b), train)
        module = network.module({name: variables[name] for name in ("params", "fixed")})
        return loss(Model(module, distances(loss, variables.get("perceptual"))), examples)

    return scores


def distances(loss: AutoencoderLoss, weights: Weights | None) -> Callable[[Images, Images], Float[Array, " b"]]:
    """Return the perceptual distance by these weights; that of a loss without one is 0."""
    if not loss.perceives:
        return lambda x, y: jnp.zeros(len(x), x.dtype)
    assert weights  # which a training with such a loss has read
    return partial(lpips.distance, weights)


def make_autoencoder_step(
    loss: AutoencoderLoss,
    network: Network,
    discriminator: Network | None,
    encoder: Encoder,
    optimizer: optax.GradientTransformation,
    *,
    ema: Callable[[Array], Array],
    spread: Callable[[Callable], Callable] = lambda function: function,
    nan_to_num: bool = False,
    axis_size: int = 1,
    micro_batches: int = 1,
) -> TrainStep:
    """Return the step, of one phase without a discriminator and of two with it; step n's key is ``fold_in(key, n)``.

    The second phase has the same examples and new noise (`Draws.again`). The metrics are the terms that
    `training.losses.autoencoder` names, with the norms of all gradients, that of the log-variance among them.

    Args:
      loss: the loss and its options.
      network: the autoencoder.
      discriminator: what `discriminator_of` returns.
      encoder: from stored records to images in [-1, 1].
      optimizer: what follows the gradients, of both phases alike, each with a state of its own.
      ema: the average's decay at update n = 1, 2, ...
      spread: how the devices spread a function of ``(variables, batch, ...)`` (`Devices.spread`).
      nan_to_num, axis_size, micro_batches: as of `make_train_step`; a discriminator takes a single micro-batch.
    """
    axis, parts = AXIS if axis_size > 1 else None, axis_size * micro_batches

    @spread
    def compress(variables: dict, batch: Batch, key: Key[Array, ""], again: bool) -> tuple[Compressed, Images]:
        """The reconstructions of a batch and its images; they are the same `again`, with new noise."""
        b = len(next(iter(batch.values())))
        examples, _ = encoder(batch, Draws.of(key, batch[PLACE] if PLACE in batch else jnp.arange(b), parts * b), True)
        draws = examples.draws.again() if again else examples.draws
        return loss.compress(network.module(variables), examples.x0, draws, draws.dropout), examples.x0

    @spread
    def perceive(weights: Weights | None, images: tuple[Images, Images]) -> Float[Array, " b"]:
        return distances(loss, weights)(*images)

    @spread
    def logits(variables: dict, x: Images) -> tuple[Array, Weights]:
        """The discriminator's logits, and its running statistics behind them."""
        assert discriminator
        return discriminator.module(variables).in_training(x, axis=axis)

    @spread
    def by_data(variables: dict, x: Images) -> Weights:
        """What a batch makes of the discriminator's actnorm."""
        assert discriminator
        return discriminator.module(variables).data_initialized(x, axis=axis)[1]

    def mean(tree: Any) -> Any:
        """The mean over the devices."""
        return jax.lax.pmean(tree, AXIS) if axis else tree

    def initialised(beside: Beside, x: Images) -> Weights:
        """The scales and shifts of the discriminator's actnorm, which the first batch gives; none of batch norm."""
        if loss.disc_norm != "act":
            return {}
        abstract = jax.eval_shape(by_data, _variables(beside), x)
        kept = {name: beside.params[name] for name in abstract}
        return jax.lax.cond(
            beside.initialised, lambda: kept, lambda: jax.lax.stop_gradient(by_data(_variables(beside), x))
        )

    def gradient(state: TrainState, batch: Batch, key: Key[Array, ""]) -> Gradient:
        step_key = jax.random.fold_in(key, state.step)

        def forward(params: Weights) -> tuple[tuple[Array, Array], tuple[Array, Array | None]]:
            variables = {"params": params, "fixed": state.fixed}
            found, x = compress(variables, batch, step_key, False)
            return (found.y, jnp.mean(found.regulariser)), (x, found.frequencies)

        (y, regulariser), pull, (x, use) = jax.vjp(forward, state.params, has_aux=True)
        summed, beside = use is None, state.loss

        def error(y: Images, logvar: Array) -> tuple[Array, Metrics]:
            apart = perceive(state.perceptual, (x, y))
            nll, rec = loss.error(x, y, apart, logvar, summed=summed)
            perceived = {"p_loss": jnp.mean(apart)} if loss.perceives else {}
            return jnp.mean(nll), {"rec_loss": jnp.mean(rec), **perceived}

        logvar = beside.logvar[LOGVAR] if loss.learn_logvar else jnp.asarray(loss.logvar_init, jnp.float32)
        (nll, terms), (of_y, of_logvar) = jax.value_and_grad(error, (0, 1), has_aux=True)(y, logvar)
        weight = jnp.asarray(loss.weight_of(summed), regulariser.dtype)
        total = nll + weight * regulariser
        terms |= {"nll_loss": nll, regulariser_name(summed): regulariser}
        seen: dict[str, Any] = {"terms": terms, "frequencies": use}
        if discriminator:
            given = initialised(beside, y)
            fooled = _variables(beside._replace(params=beside.params | given))

            def suspicion(y: Images) -> tuple[Array, Weights]:
                of_y, fixed = logits(fooled, y)
                return -jnp.mean(of_y), fixed

            (g, fixed), of_g = jax.value_and_grad(suspicion, has_aux=True)(y)
            none = jnp.zeros_like(regulariser)
            at_last = mean([pull((cotangent, none))[0][LAST_LAYER] for cotangent in (of_y, of_g)])
            d, factor = loss.adaptive_weight(*at_last), loss.factor(state.step)
            total, of_y = total + d * factor * g, of_y + d * factor * of_g
            terms |= {"g_loss": g, "d_weight": d, "disc_factor": factor}
            seen |= {"given": given, "fixed": fixed}
        if loss.learn_logvar:
            terms[LOGVAR], seen[LOGVAR] = logvar, of_logvar
        (grads,) = pull((of_y, weight))
        found = Gradient(total, grads, seen)
        return jax.tree.map(lambda leaf: leaf / micro_batches, found) if micro_batches > 1 else found

    def update(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        total, grads, seen = mean(gradient)
        moved, metrics = descended(state, grads, optimizer, ema, nan_to_num=nan_to_num)
        terms, beside = dict(seen["terms"]), state.loss
        if seen["frequencies"] is not None:
            perplexity, used = usage_of(seen["frequencies"])
            terms |= {"perplexity": perplexity, "codes_used": used.astype(float)}
        if loss.learn_logvar:
            of_logvar, told = measured({LOGVAR: seen[LOGVAR]}, nan_to_num=nan_to_num, prefix=f"{LOGVAR}_")
            metrics |= told
            steps, states = optimizer.update(of_logvar, beside.logvar_state, beside.logvar)
            beside = beside._replace(logvar=optax.apply_updates(beside.logvar, steps), logvar_state=states)
        if discriminator:
            params = beside.params | seen["given"]
            beside = beside._replace(params=params, fixed=seen["fixed"], initialised=jnp.asarray(True))
        last = 0 if discriminator else 1
        return moved._replace(step=state.step + last, loss=beside), {"loss": total, **terms, **metrics}

    def gradient_of_discriminator(state: TrainState, batch: Batch, key: Key[Array, ""]) -> Gradient:
        variables = {"params": state.params, "fixed": state.fixed}
        found, x = compress(variables, batch, jax.random.fold_in(key, state.step), True)

        def error(params: Weights) -> tuple[Array, tuple[Metrics, Weights]]:
            beside = state.loss._replace(params=params)
            real, fixed = logits(_variables(beside), x)
            fake, fixed = logits(_variables(beside._replace(fixed=fixed)), found.y)
            terms = {"logits_real": jnp.mean(real), "logits_fake": jnp.mean(fake)}
            return loss.factor(state.step) * DISCRIMINATOR_LOSSES[loss.disc_loss](real, fake), (terms, fixed)

        (value, (terms, fixed)), grads = jax.value_and_grad(error, has_aux=True)(state.loss.params)
        return Gradient(value, grads, {"terms": terms, "fixed": fixed})

    def update_of_discriminator(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        value, grads, seen = mean(gradient)
        grads, metrics = measured(grads, nan_to_num=nan_to_num, prefix="disc_")
        beside = state.loss
        steps, opt_state = optimizer.update(grads, beside.opt_state, beside.params)
        params = optax.apply_updates(beside.params, steps)
        beside = beside._replace(params=params, fixed=seen["fixed"], opt_state=opt_state)
        return state._replace(step=state.step + 1, loss=beside), {"disc_loss": value, **seen["terms"], **metrics}

    own = Phase(gradient, update)
    if not discriminator:
        return TrainStep((own,), micro_batches)
    other = Phase(gradient_of_discriminator, update_of_discriminator, lambda state: state.loss.params)
    return TrainStep((own, other), micro_batches)


def _variables(beside: Beside) -> dict[str, Weights]:
    """Return the discriminator's."""
    return {"params": beside.params, "fixed": beside.fixed}
