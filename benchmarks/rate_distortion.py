"""Bits spent on an image against the error of what is known of it: a model of pixels beside an autoencoder.

python -m benchmarks.rate_distortion --pixels=FOLDER --autoencoder=FOLDER [FOLDER ...]

A chain of noise levels codes an image progressively (Ho et al. 2020, arXiv:2006.11239, sec. 4.3): its evaluation with
``eval.enable_vlb`` has written how many bits were sent, and how far off the image is then, for every level. An
autoencoder is one point: what its latents cost, and the error of its reconstructions, as its evaluation reports both.
Both must be evaluated already, on the same data. The curve and the points go to a picture and to JSON.
"""

import argparse
import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, path_of
from evaluation.report import environment
from experiment.workdir import Workdir, write_text
from experiment.writing import replacing
from limits import sides


def report_of(run: Path, part: str) -> dict[str, Any]:
    """A run's report; ValueError where its evaluation has no such part."""
    report = json.loads((run / "report.json").read_text())
    if part not in report:
        raise ValueError(f"{run / 'report.json'} has no part {part!r}; evaluate the run with it first")
    return report


def curve_of(run: Path) -> dict[str, list[float]]:
    """The bits an image and the root mean square error, of 255 grey levels, of a model of pixels."""
    report = report_of(run, "variational_bound")
    (file,) = (run / "evaluation").glob(f"step_{report['checkpoint']['step']:08d}*/vlb/progressive_coding.csv")
    with file.open() as rows:
        table = [row for row in csv.DictReader(rows) if row["known"] != "data"]
    config = Workdir(run).config().data
    dimensions = math.prod(sides(config.image_size)) * config.num_channels
    bits = [float(row["rate_bits_per_dim"]) * dimensions for row in table]
    return {"bits_an_image": bits, "rmse": [float(row["distortion_rmse"]) for row in table]}


def point_of(run: Path) -> dict[str, float]:
    """The bits an image and the root mean square error, of 255 grey levels, of an autoencoder."""
    part = report_of(run, "reconstruction")["reconstruction"]
    return {"bits_an_image": part["bits_an_image"], "rmse": part["rmse"]}


def at_bits(curve: dict[str, list[float]], bits: float) -> float:
    """The error of the model of pixels once so many bits have been sent; NaN beyond the ends of its curve."""
    return float(np.interp(bits, curve["bits_an_image"], curve["rmse"], left=math.nan, right=math.nan))


def draw(path: Path, curve: dict[str, list[float]], points: dict[str, dict[str, float]]) -> None:
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
    flags.add_argument("--pixels", type=path_of, required=True, help="a run of noise levels, evaluated with its bound")
    flags.add_argument("--autoencoder", type=path_of, required=True, nargs="+", help="evaluated runs of autoencoders")
    flags.add_argument("--out", type=path_of, default=RESULTS / "rate_distortion.json")
    arguments = flags.parse_args(argv)
    curve = curve_of(arguments.pixels)
    points = {run.name: point_of(run) for run in arguments.autoencoder}
    for name, point in points.items():
        pixels = at_bits(curve, point["bits_an_image"])
        print(
            f"{name}: {point['bits_an_image']:.0f} bits an image, error {point['rmse']:.2f} of 255; the model of "
            f"pixels is at {pixels:.2f} once it has sent as many"
        )
    record = {"pixels": curve, "autoencoders": points, "environment": environment()}
    write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    draw(arguments.out.with_suffix(".png"), curve, points)
    print(f"wrote {arguments.out} and {arguments.out.with_suffix('.png')}")


if __name__ == "__main__":
    main()
