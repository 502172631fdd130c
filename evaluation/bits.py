"""bits/dim of the test set, image by image, in rounds on disk."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evaluation import ingredients
from evaluation.devices import each_on_its_own
from evaluation.image_rounds import write_missing
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import barrier, is_leader
from metrics.likelihood import bits_per_dim, log_likelihood
from models.materialize import network_jit
from sde_lib.bound import dequantized


def bits(
    experiment: Experiment, variables: dict, key: jax.Array, folder: Path, about: dict[str, Any]
) -> dict[str, Any] | None:
    """bits/dim of the whole test set, each example with its own dequantisation noise and probes.

    The mean over examples of the mean over `eval.bpd_repeats` dequantisations, and its standard error over examples.
    What an example gets does not depend on the batch it is in, so neither does the result on devices or processes.
    Process 0 returns it, the others None. `about` says which weights these are.

    Raises:
      Failure: a likelihood that is not finite.
    """
    config, source = experiment.config.eval, experiment.source
    count = min(len(source.test), config.bpd_max_examples or len(source.test))
    settings = {
        "dequantization": config.bpd_dequantization if source.levels else "none",
        "levels": source.levels,
        "probe": config.bpd_probe,
        "probes": config.bpd_probes,
        "t_min": experiment.sde.t_min,
        "rtol": config.rtol,
        "atol": config.atol,
    }
    compute, examples = _make_compute(experiment), ingredients.of_examples(experiment, "test")

    def columns(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, Any]:
        return dict(zip(("bits", "evaluations", "converged"), compute(variables, batch, keys), strict=True))

    all_rounds = []
    for repeat in range(config.bpd_repeats):
        key_repeat = jax.random.fold_in(key, repeat)
        known = {**about, **settings, "data": examples, **ingredients.of_key(key_repeat)}
        rounds = Rounds(folder / f"repeat_{repeat}", known, count, min(config.batch_size, count))
        write_missing(experiment, variables, rounds, key_repeat, columns, what="bits/dim", wrong=_wrong)
        all_rounds.append(rounds)
    barrier("bits")
    if not is_leader():
        return None
    each = np.mean([rounds.column("bits") for rounds in all_rounds], axis=0, dtype=np.float64)
    spent = np.concatenate([rounds.column("evaluations") for rounds in all_rounds])
    return {
        "mean": float(each.mean()),
        "standard_error": float(each.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "unit": "bits/dim" if source.levels else "bits/dim (differential)",
        "examples": count,
        "repeats": config.bpd_repeats,
        **settings,
        "evaluations": {"mean": float(spent.mean()), "max": int(spent.max())},
        "not_converged": sum(int((~rounds.column("converged")).sum()) for rounds in all_rounds),
    }


def _wrong(arrays: dict[str, np.ndarray], examples: str) -> str | None:
    wrong = ~np.isfinite(arrays["bits"])
    if not wrong.any():
        return None
    return (
        f"log-likelihood not finite for {int(wrong.sum())} of {examples} ({int((~arrays['converged']).sum())} solves "
        "did not converge); loosen eval.rtol and eval.atol, or take another checkpoint"
    )


def _make_compute(experiment: Experiment) -> Callable:
    """``(variables, batch, keys) -> bits, evaluations, converged`` of a batch."""
    config = experiment.config.eval
    # Whatever the training did: without noise grey levels have no density (published bits/dim do the same).
    scaler = dataclasses.replace(experiment.scaler, dequantization="uniform")
    by_process = experiment.source.levels is not None and config.bpd_dequantization == "process"
    offset, dimensions = 0.0 if by_process else scaler.bits_offset(), int(np.prod(experiment.source.shape))

    def compute(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, ...]:
        image = batch["image"]
        dequantize, probe = jax.numpy.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        sde, extra = experiment.process(variables), 0.0
        if by_process:
            centres = experiment.scaler.centres()
            x0 = jax.numpy.asarray(centres, np.float32)[image]
            eps = jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:], x0.dtype))(dequantize)
            x, extra = dequantized(sde, x0, eps, centres)
        else:
            x = scaler.encode(image, dequantize)
        result = log_likelihood(
            sde,
            lambda x, t, told=None: experiment.predict_fn(variables, condition=told)(x, t),
            x,
            probe,
            condition=experiment.condition(batch.get("label")),
            slots=config.bpd_slots,
            probe=config.bpd_probe,
            probes=config.bpd_probes,
            rtol=config.rtol,
            atol=config.atol,
        )
        return bits_per_dim(result.nats, dimensions, offset) + extra, result.evaluations, result.converged

    return network_jit(partial(each_on_its_own, compute))
