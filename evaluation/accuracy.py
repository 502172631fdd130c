"""How well a classifier of noisy data tells the test set's classes, level by level, in rounds on disk."""

import csv
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sde_lib
from evaluation import ingredients
from evaluation.image_rounds import write_missing
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import barrier, is_leader
from experiment.workdir import write_text
from experiment.writing import replacing
from models.materialize import network_jit

COLUMNS = ("cross_entropy", "correct")


def check(experiment: Experiment, *, now: bool) -> None:
    """Check what a classifier's evaluation needs, with `now` its test images too; ValueError says what is amiss."""
    config = experiment.config.eval
    if config.enable_bpd or config.enable_vlb or config.enable_sampling:
        raise ValueError(
            f"model.name is {experiment.config.model.name!r}, a classifier, without likelihood or samples; set "
            "eval.enable_bpd, eval.enable_vlb and eval.enable_sampling to False"
        )
    if now and not len(experiment.source.test):
        raise ValueError("there are no test images to classify; give the data set some")


def accuracy(
    experiment: Experiment, variables: dict, key: jax.Array, folder: Path, about: dict[str, Any]
) -> dict[str, Any] | None:
    """Cross-entropy and accuracy of the whole test set at each of `eval.accuracy_levels` noise levels.

    Every example once a level, with dequantisation and noise of its own, so that the result depends on neither batches
    nor devices nor processes. The table goes to the folder as accuracy.csv, with a picture. Process 0 returns it, the
    others None. `about` says which weights these are.

    Raises:
      Failure: a cross-entropy that is not finite.
    """
    config, count = experiment.config.eval, len(experiment.source.test)
    times = levels(experiment, config.accuracy_levels)
    examples = ingredients.of_examples(experiment, "test")
    known = {**about, "t": times.tolist(), "data": examples, **ingredients.of_key(key)}
    rounds = Rounds(folder / "accuracy", known, count, min(config.batch_size, count))
    process, scores = experiment.noising(variables, chain=True), _make_scores(experiment)

    def columns(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, Any]:
        found = [scores(variables, batch, keys, i, t) for i, t in enumerate(times)]
        return {name: np.stack([each[name] for each in found], axis=1) for name in COLUMNS}

    write_missing(experiment, variables, rounds, key, columns, what="accuracy", wrong=_wrong)
    barrier("accuracy")
    if not is_leader():
        return None
    t = jnp.asarray(times, jnp.float32)
    columns_of = {name: rounds.column(name).astype(np.float64) for name in COLUMNS}
    table = {
        "t": times.tolist(),
        "log_snr": np.asarray(process.log_snr(t), np.float64).tolist(),
        "accuracy": columns_of["correct"].mean(axis=0).tolist(),
        "cross_entropy": columns_of["cross_entropy"].mean(axis=0).tolist(),
    }
    _write(folder / "accuracy.csv", table)
    _draw(folder / "accuracy.png", table, experiment.num_classes)
    share = np.array(table["accuracy"])
    error = np.sqrt(share * (1.0 - share) / count)
    return {**table, "standard_error": error.tolist(), "examples": count, "classes": experiment.num_classes}


def levels(experiment: Experiment, n: int) -> np.ndarray:
    """t of n noise levels, the cleanest and the noisiest among them: even in log SNR, or of a chain in its levels."""
    sde = experiment.sde
    with jax.enable_x64(True):
        if experiment.num_scales:
            index = jnp.round(jnp.linspace(0.0, experiment.num_scales - 1.0, n))
            return np.asarray(sde.level_time(index, experiment.num_scales))
        first, last = (sde.log_snr(jnp.asarray(t)) for t in (sde.t_min, 1.0))
        return np.asarray(sde.time_of_log_snr(jnp.linspace(first, last, n)))


def _make_scores(experiment: Experiment) -> Any:
    """``(variables, batch, keys, i, t) -> columns`` of a batch at level i, all of it at time t; compiled once."""

    @network_jit
    def scores(variables: dict, batch: dict[str, jax.Array], keys: jax.Array, i: int, t: float) -> dict[str, jax.Array]:
        process = experiment.noising(variables, chain=True)
        dequantize, noise = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        x0 = experiment.scaler.encode(batch["image"], dequantize)
        eps = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, i), x0.shape[1:], x0.dtype))(noise)
        times = jnp.full(len(x0), t, x0.dtype)
        mean, std = process.marginal(x0, times)
        x = mean + sde_lib.expand(std, x0) * eps
        logits = experiment.logits_fn(variables, chain=True)(x, times)
        log_prob = sde_lib.log_prob_fn(lambda x, t: logits, batch["label"])(x, times)
        return {"cross_entropy": -log_prob, "correct": jnp.argmax(logits, axis=-1) == batch["label"]}

    return scores


def _wrong(arrays: dict[str, np.ndarray], examples: str) -> str | None:
    wrong = ~np.isfinite(arrays["cross_entropy"])
    return f"cross-entropy not finite among {examples}; take another checkpoint" if wrong.any() else None


def _write(path: Path, table: dict[str, list[float]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(table)
    writer.writerows([f"{value:.8g}" for value in row] for row in zip(*table.values(), strict=True))
    write_text(path, file.getvalue())


def _draw(path: Path, table: dict[str, list[float]], classes: int) -> None:
    """Accuracy and cross-entropy over log SNR, noise to the right, with what guessing gives."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, name, guess in zip(
        figure.subplots(1, 2), ("accuracy", "cross_entropy"), (1.0 / classes, np.log(classes)), strict=True
    ):
        axis.plot(table["log_snr"], table[name], marker="o", markersize=3)
        axis.axhline(guess, color="grey", linestyle=":", label="guessing")
        axis.set(xlabel="log SNR", ylabel=f"{name.replace('_', '-')}{' (nats)' if name != 'accuracy' else ''}")
        axis.set_ylim(bottom=0.0)
        axis.invert_xaxis()
        axis.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)
