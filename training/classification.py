"""Training a classifier of noisy data on any SDE (Dhariwal and Nichol 2021, arXiv:2105.05233, sec. 4 and App. H).

    E_t E_(x_0, y, eps)  -log p(y | x_t),        x_t = alpha x_0 + sigma eps,

t drawn as `Objective.times` does, every noise level counting alike.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import sde_lib
from data.augment import random_flip
from data.scaling import Scaler
from models.functional import Network
from training.draws import Draws
from training.objective import Objective


def batch_scores(
    objective: Objective, network: Network, scaler: Scaler, *, noise_label: str, random_flips: bool, parts: int
) -> Callable[..., dict[str, Float[Array, " b"]]]:
    """``(variables, batch, key, train) -> {"loss": [b], "accuracy": [b]}`` of one of `parts` parts of a global batch.

    The loss in nats, and 1 where the likeliest class is the example's own, else 0. A batch is "image" [b, ...] and
    "label" [b]. Draws are those of `training.step.batch_losses`: they do not depend on the number of parts.
    """

    def scores(variables: dict, batch: dict, key: Key[Array, ""], train: bool) -> dict[str, Array]:
        draws = Draws.of_batch(key, batch, parts)
        x0 = scaler.encode(batch["image"], draws.dequantize)
        if random_flips and train:
            x0 = random_flip(draws.flip, x0)
        t = objective.times(draws.batch, draws.time, draws.place, draws.size).astype(x0.dtype)
        mean, std = objective.process.marginal(x0, t)
        x = mean + sde_lib.expand(std, x0) * draws.eps(x0)
        keys = draws.dropout if train else None
        logits = sde_lib.logits_fn(
            objective.process, lambda x, c_noise: network.apply(variables, x, c_noise, keys=keys), noise_label
        )(x, t)
        log_prob = sde_lib.log_prob_fn(lambda x, t: logits, batch["label"])(x, t)
        return {"loss": -log_prob, "accuracy": (jnp.argmax(logits, axis=-1) == batch["label"]).astype(jnp.float32)}

    return scores
