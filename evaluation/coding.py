"""The variational bound of the test set, image by image, in rounds on disk; and the curve of progressive coding."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evaluation import ingredients
from evaluation.image_rounds import not_finite, write_missing
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import barrier, is_leader
from experiment.workdir import write_text
from experiment.writing import replacing
from metrics.chain_bound import Curve, normal_noise, progressive_coding, variational_bound
from models.materialize import network_jit
from sde_lib import VARIANCES

COLUMNS = ("prior", "terms", "x0_mse", "eps_mse")


def check(experiment: Experiment) -> None:
    """Check what ``eval.enable_vlb`` needs; ValueError says what is missing."""
    variance = experiment.settings.variance
    if not len(experiment.source.test):
        raise ValueError("there are no test images for the bound; give the data set some, or set eval.enable_vlb=False")
    if variance not in VARIANCES:
        raise ValueError(f"sampling.variance is {variance!r}; the bound knows {', '.join(VARIANCES)}")
    if variance.startswith("learned") and not experiment.predicts_variance:
        raise ValueError(
            f"sampling.variance is {variance!r}, and the network predicts no variance, which takes twice the channels "
            "of the image; use small or large"
        )


def variational(
    experiment: Experiment, variables: dict, key: jax.Array, folder: Path, about: dict[str, Any]
) -> dict[str, Any] | None:
    """The bound of the test set with its parts; the progressive-coding curve goes to the folder as CSV and picture.

    What an example gets does not depend on the batch it is in, so neither does the result on devices or processes.
    Process 0 returns it, the others None. `about` says which weights these are.

    Raises:
      Failure: a term that is not finite.
    """
    config, source, n = experiment.config.eval, experiment.source, experiment.num_scales
    count = min(len(source.test), config.vlb_max_examples or len(source.test))
    settings = {
        "variance": experiment.settings.variance,
        "decoder": config.vlb_decoder if source.levels else "density",
        "clip": bool(config.vlb_clip and source.levels),
    }
    examples = ingredients.of_examples(experiment, "test")
    known = {**about, **settings, "data": examples, **ingredients.of_key(key)}
    rounds = Rounds(folder / "vlb", known, count, min(config.batch_size, count))
    compute = _make_compute(experiment, settings)

    def columns(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, Any]:
        bound = compute(variables, batch, keys)
        return {name: getattr(bound, name) for name in COLUMNS}

    write_missing(experiment, variables, rounds, key, columns, what="variational bound", wrong=not_finite)
    barrier("vlb")
    if not is_leader():
        return None
    prior, terms, x0_mse, eps_mse = (rounds.column(name).astype(np.float64) for name in COLUMNS)
    total = prior + terms.sum(axis=1)
    curve = progressive_coding(prior, terms, x0_mse, experiment.scaler.display_scale())
    _write_curve(folder / "progressive_coding.csv", curve, terms.mean(0), x0_mse.mean(0), eps_mse.mean(0))
    _draw_curve(folder / "progressive_coding.png", curve, "of 255" if source.levels else "of the data")
    return {
        "mean": float(total.mean()),
        "standard_error": float(total.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "unit": "bits/dim" if source.levels else "bits/dim (differential)",
        "prior": float(prior.mean()),
        "steps": float(terms[:, 1:].sum(axis=1).mean()),
        "decoder": float(terms[:, 0].mean()),
        "l_simple": float(eps_mse.mean()),
        "examples": count,
        "num_scales": n,
        "settings": settings,
        "progressive_coding": "progressive_coding.csv",
    }


def _make_compute(experiment: Experiment, settings: dict[str, Any]) -> Callable:
    """``(variables, batch, keys) -> Bound``."""
    options: dict[str, Any] = {"variance": settings["variance"]}
    levels = experiment.source.levels
    if levels:
        (low, high), half_bin = experiment.scaler.bins()
        options |= {"half_bin": half_bin, "bounds": (low, high), "decoder": settings["decoder"]}
        if settings["clip"]:
            options["clip"] = (-1.0, 1.0) if experiment.scaler.centered else (0.0, 1.0)

    @network_jit
    def compute(variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> Any:
        image = batch["image"]
        x0 = low + (high - low) / (levels - 1) * image.astype(np.float32) if levels else image
        model = experiment.predict_fn(variables, chain=True, condition=experiment.condition(batch.get("label")))
        return variational_bound(experiment.sde, experiment.num_scales, model, x0, normal_noise(keys, x0), **options)

    return compute


def _write_curve(path: Path, curve: Curve, *at_level: np.ndarray) -> None:
    """One row for each point of the curve: what is known, and of that level the term and the errors."""
    names = ("known", "rate_bits_per_dim", "distortion_rmse", "term_bits_per_dim", "x0_mse", "l_simple")
    n = len(at_level[0])
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for k in range(n):
        values = curve.rate[k], curve.distortion[k], *(column[n - 1 - k] for column in at_level)
        writer.writerow([f"x_{n - 1 - k}", *(f"{value:.8g}" for value in values)])
    writer.writerow(["data", f"{curve.rate[n]:.8g}", "0", "", "", ""])
    write_text(path, file.getvalue())


def _draw_curve(path: Path, curve: Curve, units: str) -> None:
    """Distortion and rate over the steps, and distortion over rate (Ho et al. 2020, fig. 5)."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    steps = np.arange(len(curve.rate))
    distortion, rate = f"distortion (RMSE, {units})", "rate (bits/dim)"
    for axis, x, y, labels in (
        (axes[0], steps, curve.distortion, ("steps received", distortion)),
        (axes[1], steps, curve.rate, ("steps received", rate)),
        (axes[2], curve.rate, curve.distortion, (rate, distortion)),
    ):
        axis.plot(x, y)
        axis.set(xlabel=labels[0], ylabel=labels[1])
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)
