"""The optimisers with warm-up, clipping and the fall of the learning rate, and the moving average of the weights.

Adam's steps are those of any multiple of the gradient, if `eps` is multiplied too: a recipe whose loss is the sum over
an image's d numbers (EDM) is that of their mean with lr as it is and eps / d.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from experiment.ranges import of_section
from limits import check

MUON_RMS = 0.2
"""The root mean square of Muon's step at a rate of 1, about as of Adam's: one rate serves both (arXiv:2502.16982)."""


def _muon(beta1: float, beta2: float, eps: float) -> optax.GradientTransformation:
    """Muon for the kernels, Adam with Nesterov's momentum for all else, which is what optax gives what is no matrix.

    A kernel of a convolution is the matrix of its inputs, [height width in, out]. Muon alone would refuse it, and would
    take the scales and biases of each class, [classes, features], for matrices; so the name of a weight decides.
    """

    def matrices(params: Any) -> Any:
        def axes(path: Any, leaf: Array) -> optax.contrib.MuonDimensionNumbers | None:
            kernel = path[-1].key.split(".")[-1] == "kernel"
            return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1) if kernel else None

        return jax.tree.map_with_path(axes, params)

    return optax.contrib.muon(
        learning_rate=-1.0,  # the direction up the loss, as other scalings give it; the rate comes behind it
        eps=eps,
        adam_b1=beta1,
        adam_b2=beta2,
        muon_weight_dimension_numbers=matrices,
        consistent_rms=MUON_RMS,
    )


class Kind(NamedTuple):
    """An optimiser: what it makes of a gradient by (beta1, beta2, eps), and whether weights decay beside that."""

    scaling: Callable[[float, float, float], optax.GradientTransformation]
    decoupled: bool


OPTIMIZERS = {
    "Adam": Kind(optax.scale_by_adam, decoupled=False),
    "AdamW": Kind(optax.scale_by_adam, decoupled=True),
    "RAdam": Kind(optax.scale_by_radam, decoupled=False),
    "Muon": Kind(_muon, decoupled=True),
}


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
    inverse_sqrt_steps: int = 0,
    batch_size: int = 0,
) -> optax.GradientTransformation:
    """Clip by global norm, then the optimiser, then the learning rate: lr min(n / warmup, 1) at step n = 0, 1, ...

    `warmup_images` > 0 takes the place of `warmup`: lr min(n batch_size / warmup_images, 1), the same ramp for every
    batch size (Karras et al. 2022, App. F.1: 10 million). `grad_clip` <= 0 clips nothing. `weight_decay` is decoupled
    with 'AdamW' and 'Muon' and added to the gradient with 'Adam' (as published; 0) and 'RAdam'.

    The rate falls in one of two ways. `decay_steps` > 0 lets it fall to 0 as a half cosine over that many steps, the
    last of the run. `inverse_sqrt_steps` > 0 divides it by sqrt(max(n / inverse_sqrt_steps, 1)), whatever the length of
    the run (Karras et al. 2024, arXiv:2312.02696: 70 000 for ImageNet-512, 35 000 for ImageNet-64).

    'RAdam' is Liu et al. 2020 (arXiv:1908.03265). 'Muon' orthogonalises the momentum of each kernel (Jordan et al.
    2024), with a momentum of 0.95; its steps are scaled to the size of Adam's, which takes all other weights with
    `beta1` and `beta2`.

    Raises:
      ValueError: an unknown optimizer, a number out of range, or two ways to fall.
    """
    check("optim.", locals(), of_section("optim"))
    if warmup_images and batch_size < 1:
        raise ValueError(f"optim.warmup_images is {warmup_images}, which needs the batch size, and it is {batch_size}")
    if decay_steps and inverse_sqrt_steps:
        raise ValueError(
            f"optim.decay_steps is {decay_steps} and optim.inverse_sqrt_steps {inverse_sqrt_steps}; the learning rate "
            "falls in one way or the other, so set one of them to 0"
        )
    rate = learning_rate(lr, warmup_images / batch_size if warmup_images else warmup, decay_steps, inverse_sqrt_steps)
    scaling, decoupled = OPTIMIZERS[optimizer]
    decay = optax.add_decayed_weights(weight_decay) if weight_decay or decoupled else optax.identity()
    # The state of each of the five lies in a checkpoint under its number.
    return optax.chain(
        optax.stateless(lambda grads, _: _clipped(grads, grad_clip)) if grad_clip > 0 else optax.identity(),
        optax.identity() if decoupled else decay,
        scaling(beta1, beta2, eps),
        decay if decoupled else optax.identity(),
        optax.scale_by_learning_rate(rate),
    )


def learning_rate(
    lr: float, warmup: float, decay_steps: int, inverse_sqrt_steps: int
) -> Callable[[Array], Array | float]:
    """Return the rate of step n = 0, 1, ...: warm-up over so many steps, and one of the two ways to fall (`create`)."""

    def rate(count: Array) -> Array | float:
        ramp = jnp.minimum(count / warmup, 1.0) if warmup else 1.0
        fall = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / decay_steps, 1.0))) if decay_steps else 1.0
        slow = jnp.sqrt(jnp.maximum(count / inverse_sqrt_steps, 1.0)) if inverse_sqrt_steps else 1.0
        return lr * ramp * fall / slow

    return rate


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
