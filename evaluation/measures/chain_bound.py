"""The variational bound of a discrete chain on the test set, and its curve of progressive coding (Ho et al. 2020)."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from evaluation.measures.base import Columns, Measure, bits_mean, bits_rows, encoded, write_csv
from experiment import Experiment
from experiment.writing import replacing
from metrics.chain_bound import Curve, normal_noise, progressive_coding, variational_bound
from sde_lib import VARIANCES


class ChainBound(Measure):
    """The bound with its parts, at every noise level of the chain; one network evaluation a level.

    The curve of progressive coding goes to the folder as CSV and as a picture.
    """

    name = "variational_bound"
    folder = "vlb"
    what = "variational bound"
    kinds = ("chain",)

    def __init__(self, experiment: Experiment):
        config, levels = experiment.config.eval, experiment.codec.levels
        super().__init__(
            experiment,
            config.vlb_max_examples,
            variance=experiment.settings.variance,  # type: ignore[attr-defined]  # an option of samplers
            decoder=config.vlb_decoder if levels else "density",
            clip=bool(config.vlb_clip and levels),
        )

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse also an unknown variance, and a learned one that the network lacks."""
        super().check(experiment)
        variance: str = experiment.settings.variance  # type: ignore[attr-defined]
        if variance not in VARIANCES:
            raise ValueError(f"sampling.variance is {variance!r}; the bound knows {', '.join(VARIANCES)}")
        if variance.startswith("learned") and not experiment.predicts_variance:
            raise ValueError(
                f"sampling.variance is {variance!r}, and the network predicts no variance, which takes twice the "
                "channels of the image; use small or large"
            )

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns prior [b] and terms, x0_mse and eps_mse [b, levels], as `metrics.chain_bound.Bound` has them."""
        experiment, codec = self.experiment, self.experiment.codec
        options: dict[str, Any] = {"variance": self.settings["variance"]}
        if levels := codec.levels:
            (low, high), half_bin = codec.pictures.bins()
            x0 = low + (high - low) / (levels - 1) * batch[codec.field].astype(np.float32)
            options |= {"half_bin": half_bin, "bounds": (low, high), "decoder": self.settings["decoder"]}
            if self.settings["clip"]:
                options["clip"] = (-1.0, 1.0) if codec.centered else (0.0, 1.0)
        else:
            x0 = encoded(codec, batch[codec.field], keys)
        model = experiment.predict_fn(variables, chain=True, condition=experiment.condition_of(batch))
        noise = normal_noise(keys, x0)
        return variational_bound(experiment.sde, experiment.num_scales, model, x0, noise, **options)._asdict()

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """The bound with its standard error, its parts, and the training's simple loss."""
        prior, terms, eps_mse = (columns[name][0].astype(np.float64) for name in ("prior", "terms", "eps_mse"))
        codec = self.experiment.codec
        return {
            **bits_mean(prior + terms.sum(axis=1), codec),
            "prior": bits_mean(prior, codec)["mean"],
            "steps": bits_mean(terms[:, 1:].sum(axis=1), codec)["mean"],
            "decoder": bits_mean(terms[:, 0], codec)["mean"],
            "l_simple": float(eps_mse.mean()),
            "examples": self.count,
            "num_scales": self.experiment.num_scales,
            "settings": self.settings,
            "progressive_coding": "progressive_coding.csv",
        }

    def illustrate(self, columns: Columns, part: dict[str, Any], folder: Path) -> None:
        """Write progressive_coding.csv and progressive_coding.png."""
        prior, *at_level = (columns[name][0].astype(np.float64) for name in ("prior", "terms", "x0_mse", "eps_mse"))
        terms, x0_mse, _ = at_level
        codec = self.experiment.codec
        curve = progressive_coding(prior, terms, x0_mse, codec.pictures.display_scale() if codec.levels else 1.0)
        _write(folder / part["progressive_coding"], curve, *(column.mean(axis=0) for column in at_level))
        _draw(folder / "progressive_coding.png", curve, "of 255" if codec.levels else "of x")

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "Variational bound" of a part that is a chain's."""
        if "num_scales" not in part:
            return []
        settings = part["settings"]
        return [
            *bits_rows("Variational bound", part, "prior", "steps", "decoder"),
            f"{part['num_scales']} noise levels, variance {settings['variance']}, decoder {settings['decoder']}, "
            f"x0 {'clipped' if settings['clip'] else 'not clipped'}. L_simple {part['l_simple']:.4f}. Progressive "
            f"coding: {part['progressive_coding']}, with a picture.",
            "",
        ]


def _write(path: Path, curve: Curve, *at_level: np.ndarray) -> None:
    """Write a row for each point of the curve: what is known, and the term and the errors of that level."""
    names = ("known", "rate_bits_per_dim", "distortion_rmse", "term_bits_per_dim", "x0_mse", "l_simple")
    n = len(at_level[0])
    rows = [
        (f"x_{n - 1 - k}", curve.rate[k], curve.distortion[k], *(column[n - 1 - k] for column in at_level))
        for k in range(n)
    ]
    write_csv(path, names, [*rows, ("data", curve.rate[n], "0", "", "", "")])


def _draw(path: Path, curve: Curve, units: str) -> None:
    """Draw distortion and rate over the steps, and distortion over rate (Ho et al. 2020, fig. 5)."""
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
