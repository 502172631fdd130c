"""Adam with linear warmup and clipping, and the moving average of the weights.

Adam's steps are those of any multiple of the gradient, if `eps` is multiplied too: a recipe whose loss is the sum over
an image's d numbers (EDM) is that of their mean with lr as it is and eps / d.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from experiment.ranges import of_section
from limits import check


def create(
    *,
    optimizer: str = "Adam",
    lr: float = 2e-4,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup: int = 5000,
    warmup_images: float = 0.0,
    grad_clip: float = 1.0,
    decay_steps: int = 0,
    batch_size: int = 0,
) -> optax.GradientTransformation:
    """Clip by global norm, then Adam, then the learning rate: lr min(n / warmup, 1) at step n = 0, 1, ...

    `warmup_images` > 0 takes the place of `warmup`: lr min(n batch_size / warmup_images, 1), the same ramp for every
    batch size (Karras et al. 2022, App. F.1: 10 million). `grad_clip` <= 0 clips nothing. `decay_steps` > 0 lets lr
    fall to 0 as a half cosine over that many steps, the last of the run. `weight_decay` is decoupled with 'AdamW' and
    added to the gradient with 'Adam' (as published; 0).

    Raises:
      ValueError: an unknown optimizer, or a number out of range.
    """
    check("optim.", locals(), of_section("optim"))
    if warmup_images and batch_size < 1:
        raise ValueError(f"optim.warmup_images is {warmup_images}, which needs the batch size, and it is {batch_size}")
    steps = warmup_images / batch_size if warmup_images else warmup

    def learning_rate(count: Array) -> Array | float:
        ramp = jnp.minimum(count / steps, 1.0) if steps else 1.0
        fall = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / decay_steps, 1.0))) if decay_steps else 1.0
        return lr * ramp * fall

    coupled = weight_decay and optimizer == "Adam"
    return optax.chain(
        optax.stateless(lambda grads, _: _clipped(grads, grad_clip)) if grad_clip > 0 else optax.identity(),
        optax.add_decayed_weights(weight_decay) if coupled else optax.identity(),
        optax.scale_by_adam(beta1, beta2, eps),
        optax.add_decayed_weights(weight_decay) if optimizer == "AdamW" else optax.identity(),
        optax.scale_by_learning_rate(learning_rate),
    )


def global_norm(tree: Any) -> Array:
    """Return the Euclidean norm of all numbers together.

    Vectors, most of a network's leaves and few of its numbers, are first put in a row: XLA makes three programs of the
    sum over each, which take longer to load than to run.
    """
    leaves = jax.tree.leaves(tree)
    row = [leaf for leaf in leaves if leaf.ndim == 1]
    parts = [leaf for leaf in leaves if leaf.ndim != 1] + ([jnp.concatenate(row)] if row else [])
    return jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in parts))


def _clipped(tree: Any, largest: float) -> Any:
    """Times one factor, so that the norm is at most the largest; a product is made within what comes after it."""
    norm = global_norm(tree)
    factor = jnp.where(norm < largest, 1.0, largest / norm)
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)


def create_ema(
    *, ema_rate: float, ema_warmup: bool, ema_halflife_images: float = 0.0, ema_rampup: float = 0.05, batch_size: int
) -> Callable[[Array], Array]:
    """Return the average's decay as a function of the update's number n = 1, 2, ...: by a rate, or by a half-life.

    It is `ema_rate`, with `ema_warmup` min(rate, (1 + n) / (10 + n)): a constant 0.998 leaves 9 % of the random initial
    weights after 1200 steps. `ema_halflife_images` > 0 takes the place of both: the share of an image's step in the
    average halves every so many images, decay 0.5^(batch_size / H), with H = min(halflife, ema_rampup images seen
    before), which is the raw weights at first; ema_rampup 0 is without (Karras et al. 2022, App. F.1: half a million,
    0.05).

    Raises:
      ValueError: a number out of range.
    """
    check("model.", locals(), of_section("model"))

    def decay(step: Array) -> Array:
        if not ema_halflife_images:
            return jnp.minimum(ema_rate, (1.0 + step) / (10.0 + step)) if ema_warmup else jnp.asarray(ema_rate)
        seen = (jnp.asarray(step, float) - 1.0) * batch_size  # as float: 2^31 images are not many
        halflife = jnp.minimum(ema_halflife_images, ema_rampup * seen) if ema_rampup else ema_halflife_images
        return 0.5 ** (batch_size / jnp.maximum(halflife, 1e-8))

    return decay
