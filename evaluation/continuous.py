"""The variational bound of the test set in continuous time, image by image, in rounds on disk (Kingma et al. 2021)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evaluation import ingredients
from evaluation.image_rounds import not_finite, write_missing
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import barrier, is_leader
from models.materialize import network_jit
from sde_lib.bound import Bound, bound_times, diffusion_bits, prior_bits, reconstruction_bits


def check(experiment: Experiment) -> None:
    """Check what ``eval.enable_vlb`` needs; ValueError says what is missing."""
    if not len(experiment.source.test):
        raise ValueError("there are no test images for the bound; give the data set some, or set eval.enable_vlb=False")


def variational(
    experiment: Experiment, variables: dict, key: jax.Array, folder: Path, about: dict[str, Any]
) -> dict[str, Any] | None:
    """The bound's three terms, means over the test set, and the ends of the noise schedule.

    The diffusion term is the mean over `eval.vlb_times` times, evenly spread behind a random one, each with its own
    noise. What an example gets does not depend on the batch it is in, so neither does the result on devices or
    processes. Process 0 returns it, the others None. `about` says which weights these are.

    Raises:
      Failure: a term that is not finite.
    """
    config, source = experiment.config.eval, experiment.source
    count = min(len(source.test), config.vlb_max_examples or len(source.test))
    settings = {"times": config.vlb_times, "decoder": "softmax" if source.levels else "density"}
    examples = ingredients.of_examples(experiment, "test")
    known = {**about, **settings, "data": examples, **ingredients.of_key(key)}
    rounds = Rounds(folder / "vlb", known, count, min(config.batch_size, count))
    compute = _make_compute(experiment, config.vlb_times)

    def columns(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, Any]:
        return compute(variables, batch, keys)._asdict()

    write_missing(experiment, variables, rounds, key, columns, what="variational bound", wrong=not_finite)
    barrier("vlb")
    if not is_leader():
        return None
    terms = {name: rounds.column(name).astype(np.float64) for name in Bound._fields}
    total = sum(terms.values(), np.zeros(count))
    sde = experiment.process(variables)
    return {
        "mean": float(total.mean()),
        "standard_error": float(total.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "unit": "bits/dim" if source.levels else "bits/dim (differential)",
        **{name: float(values.mean()) for name, values in terms.items()},
        "log_snr": [float(sde.log_snr(jnp.asarray(t))) for t in (sde.t_min, 1.0)],
        "examples": count,
        "settings": settings,
    }


def _make_compute(experiment: Experiment, n: int) -> Callable[..., Bound]:
    """``(variables, batch, keys) -> Bound``."""
    levels = experiment.scaler.centres() if experiment.source.levels else None

    @network_jit
    def compute(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> Bound:
        sde, image = experiment.process(variables), batch["image"]
        x0 = image if levels is None else jnp.asarray(levels, np.float32)[image]

        def noise(i: jax.Array | int) -> jax.Array:
            at = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
            return jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:], x0.dtype))(at)

        predict = experiment.predict_fn(variables, condition=experiment.condition(batch.get("label")))
        start = jax.vmap(jax.random.uniform)(keys)

        def at(i: jax.Array) -> jax.Array:
            return diffusion_bits(sde, predict, x0, bound_times(sde, (start + i / n) % 1.0), noise(i))

        diffusion = jnp.mean(jax.lax.map(at, jnp.arange(n)), axis=0)
        return Bound(diffusion, prior_bits(sde, x0), reconstruction_bits(sde, x0, noise(n), levels))

    return compute
