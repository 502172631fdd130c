"""Adam with linear warmup and clipping, and the moving average of the weights."""

import jax.numpy as jnp
import optax
from jaxtyping import Array

OPTIMIZERS = ("Adam", "AdamW")


def create(
    *,
    optimizer: str = "Adam",
    lr: float = 2e-4,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup: int = 5000,
    grad_clip: float = 1.0,
    decay_steps: int = 0,
) -> optax.GradientTransformation:
    """Clip by global norm, then Adam, then the learning rate: lr min(n / warmup, 1) at step n = 0, 1, ...

    `grad_clip` <= 0 clips nothing. `decay_steps` > 0 lets lr fall to 0 as a half cosine over that many steps, the last
    of the run. `weight_decay` is decoupled with 'AdamW' and added to the gradient with 'Adam' (as published; 0).

    Raises:
      ValueError: an unknown optimizer, or a number out of range.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optim.optimizer is {optimizer!r}; allowed are {', '.join(OPTIMIZERS)}")
    if lr <= 0.0 or warmup < 0 or decay_steps < 0:
        raise ValueError(f"optim: lr {lr}, warmup {warmup}, decay_steps {decay_steps}; needed: lr > 0, the others >= 0")

    def learning_rate(count: Array) -> Array:
        ramp = jnp.minimum(count / warmup, 1.0) if warmup else 1.0
        fall = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / decay_steps, 1.0))) if decay_steps else 1.0
        return lr * ramp * fall

    coupled = weight_decay and optimizer == "Adam"
    return optax.chain(
        optax.clip_by_global_norm(grad_clip) if grad_clip > 0 else optax.identity(),
        optax.add_decayed_weights(weight_decay) if coupled else optax.identity(),
        optax.scale_by_adam(beta1, beta2, eps),
        optax.add_decayed_weights(weight_decay) if optimizer == "AdamW" else optax.identity(),
        optax.scale_by_learning_rate(learning_rate),
    )


def ema_decay(rate: float, step: Array, *, warmup: bool) -> Array:
    """The average's decay for update number `step` = 1, 2, ...; with `warmup` min(rate, (1 + n) / (10 + n)).

    Warming up matters in short runs: a constant 0.998 leaves 9 % of the random initial weights after 1200 steps.
    """
    return jnp.minimum(rate, (1.0 + step) / (10.0 + step)) if warmup else jnp.asarray(rate)
