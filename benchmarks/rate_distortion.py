"""Bits spent on an image against the error of what is known of it: a model of pixels beside an autoencoder.

python -m benchmarks.rate_distortion --pixels=FOLDER --autoencoder=FOLDER [FOLDER ...] [--levels=100] [--examples=32]

A chain of noise levels codes an image progressively (Ho et al. 2020, arXiv:2006.11239, sec. 4.3): how many bits have
been sent, and how far off the image is then, is computed here at every level, of the first test images. A run in
continuous time is taken at so many levels of its process; one that was trained on levels at its own. An autoencoder is
one point: what its latents cost, and the error of its reconstructions, as its evaluation has reported both. The curve
and the points go to a picture and to JSON.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

import experiment
from autoencoders import GreyLevels
from benchmarks.common import RESULTS, path_of
from data.source import take
from evaluation.report import environment
from experiment.workdir import write_text
from experiment.writing import replacing
from metrics.chain_bound import normal_noise, progressive_coding, variational_bound
from models.materialize import network_jit

BATCH = 8  # images at once


def report_of(run: Path, part: str) -> dict[str, Any]:
    """A run's report; ValueError where its evaluation has no such part."""
    report = json.loads((run / "report.json").read_text())
    if part not in report:
        raise ValueError(f"{run / 'report.json'} has no part {part!r}; evaluate the run with it first")
    return report


def curve_of(folder: Path, levels: int, examples: int) -> dict[str, Any]:
    """The bits an image and the root mean square error, of 255 grey levels, of a run that models pixels.

    Raises:
      ValueError: the run models latents, or data without grey levels.
    """
    run = experiment.load(folder)
    found, codec = run.experiment, cast(GreyLevels, run.codec)
    if codec.levels is None:
        raise ValueError(f"{folder} is a model of latents or of continuous data; a model of grey levels is needed")
    (low, high), half_bin = codec.bins()
    n, sde = found.num_scales or levels, run.sde

    @network_jit
    def bound(variables: dict, images: jax.Array, keys: jax.Array) -> Any:
        x0 = low + 2.0 * half_bin * images.astype(jnp.float32)
        model = found.predict_fn(variables, chain=bool(found.num_scales))
        options = {"half_bin": half_bin, "bounds": (low, high), "clip": (-1.0, 1.0) if codec.centered else (0.0, 1.0)}
        return variational_bound(sde, n, model, x0, normal_noise(keys, x0), variance="small", **options)

    keys, parts = jax.random.split(jax.random.key(0), examples), []
    for places in np.split(np.arange(examples), range(BATCH, examples, BATCH)):
        images = take(found.source.test, places)[codec.field]
        parts.append(jax.tree.map(np.asarray, bound(run.variables, jnp.asarray(images), keys[places])))
    prior, terms, x0_mse, _ = (np.concatenate(column) for column in zip(*parts, strict=True))
    curve = progressive_coding(prior, terms, x0_mse, codec.display_scale())
    bits = curve.rate * math.prod(codec.shape)
    return {"bits_an_image": bits[:-1].tolist(), "rmse": curve.distortion[:-1].tolist(), "lossless": float(bits[-1])}


def point_of(run: Path) -> dict[str, float]:
    """The bits an image and the root mean square error, of 255 grey levels, of an autoencoder."""
    part = report_of(run, "reconstruction")["reconstruction"]
    return {"bits_an_image": part["bits_an_image"], "rmse": part["rmse"]}


def at_bits(curve: dict[str, Any], bits: float) -> float:
    """The error of the model of pixels once so many bits have been sent; NaN beyond the ends of its curve."""
    return float(np.interp(bits, curve["bits_an_image"], curve["rmse"], left=math.nan, right=math.nan))


def draw(path: Path, curve: dict[str, Any], points: dict[str, dict[str, float]]) -> None:
    """Draw the curve, and a mark for each autoencoder, over the bits."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve["bits_an_image"], curve["rmse"], label="pixels, progressive coding")
    for name, point in points.items():
        axes.plot(point["bits_an_image"], point["rmse"], "o", label=name)
    axes.set(xscale="log", xlabel="bits an image", ylabel="root mean square error, of 255")
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the reports, print the table, and write the picture and the JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--pixels", type=path_of, required=True, help="a run that models pixels")
    flags.add_argument("--autoencoder", type=path_of, required=True, nargs="+", help="evaluated runs of autoencoders")
    flags.add_argument("--levels", type=int, default=100, help="of a run in continuous time")
    flags.add_argument("--examples", type=int, default=32, help="test images")
    flags.add_argument("--out", type=path_of, default=RESULTS / "rate_distortion.json")
    arguments = flags.parse_args(argv)
    curve = curve_of(arguments.pixels, arguments.levels, arguments.examples)
    points = {run.name: point_of(run) for run in arguments.autoencoder}
    for name, point in points.items():
        pixels = at_bits(curve, point["bits_an_image"])
        print(
            f"{name}: {point['bits_an_image']:.0f} bits an image, error {point['rmse']:.2f} of 255; the model of "
            f"pixels is at {pixels:.2f} once it has sent as many"
        )
    taken = {"levels": arguments.levels, "examples": arguments.examples}
    record = {"pixels": curve, **taken, "autoencoders": points, "environment": environment()}
    write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    draw(arguments.out.with_suffix(".png"), curve, points)
    print(f"wrote {arguments.out} and {arguments.out.with_suffix('.png')}")


if __name__ == "__main__":
    main()
