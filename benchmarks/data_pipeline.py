"""Images a second of the data pipeline, and the share of a training step that is spent waiting for it.

python -m benchmarks.data_pipeline --batch_size=128 --repeats=5

Sources: digits and photo patches (in memory, decoded), an array of CIFAR-10's size and number, a folder of PNG files
of 32 x 32 that are decoded when asked for. The pipeline alone: batches as fast as they come, four threads ahead.
In training: the loop of `training.loop`, which takes a batch while the device still computes the step before, against
the network of --config on images of its own size; the wait is the time in `next`. Baseline: the array.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

import data
from benchmarks.common import experiment_of, parser, record, speedups, spread
from benchmarks.steps import Steps
from benchmarks.train_step import images_of
from data.pipeline import Batch, batches
from data.source import Arrays, Records
from experiment.processes import one_at_a_time
from experiment.progress import waiting
from training.devices import check_batch_size
from training.readings import IN_FLIGHT

ARRAY = "array of 50000 x 32 x 32 x 3"


def sources(folder: Path, files: int) -> dict[str, Records]:
    """Training sets by name; the PNG files are written into `folder`."""
    rng = np.random.default_rng(0)
    for i in range(files):
        smooth = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(smooth + rng.integers(0, 16, smooth.shape, np.uint8)).save(folder / f"{i:05d}.png")
    return {
        ARRAY: Arrays({"image": rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8)}),
        "digits": data.create("digits").train,
        "photo patches": data.create("photo_patches", size=32).train,
        f"folder of {files} PNG files": data.create("folder", path=str(folder), image_size=32, test_fraction=0.0).train,
    }


def alone(stream: Iterator[Batch], count: int) -> float:
    """Seconds for so many batches."""
    began = time.perf_counter()
    for _ in range(count):
        next(stream)
    return time.perf_counter() - began


def in_training(stream: Iterator[Batch], step, count: int) -> tuple[float, float]:
    """(seconds of waiting for data, seconds in all) of so many steps, the host as far ahead as in training."""
    ahead = 0 if one_at_a_time() else IN_FLIGHT
    unread, waited, began = [], 0.0, time.perf_counter()
    for _ in range(count):
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        unread.append(step(batch))
        if len(unread) > ahead:
            jax.block_until_ready(unread[-1 - ahead])
    jax.block_until_ready(unread[-1])
    return waited, time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=128)
    flags.add_argument("--batches", type=int, default=50, help="of the pipeline alone, in a round")
    flags.add_argument("--steps", type=int, default=10, help="of training, in a round")
    flags.add_argument("--files", type=int, default=2000, help="PNG files in the folder")
    options = flags.parse_args(arguments)
    check_batch_size(options.batch_size)
    experiment, variables, weights = experiment_of(options, needs_data=False)
    step = Steps(experiment, variables, options.batch_size).pmapped(1)
    examples = images_of(experiment, options.batch_size)
    fixed = {name: examples[name][None] for name in experiment.batch_fields}
    with waiting("compiling the training step"):
        jax.block_until_ready(step(fixed))

    with tempfile.TemporaryDirectory() as folder:
        found = sources(Path(folder), options.files)
        seconds: dict[str, list[float]] = {name: [] for name in found}
        shares: dict[str, list[float]] = {name: [] for name in found}
        make = {"batch_size": options.batch_size, "seed": 0}
        for start in tqdm(range(options.repeats), desc="timing", unit="round"):
            for name, records in found.items():
                stream = batches(records, **make, start_step=start * options.batches)
                next(stream)  # threads begin, and the epoch's order is drawn
                seconds[name].append(alone(stream, options.batches))
                # The images are thrown away: the device has a batch of its own size to compute, whatever the source.
                waited, total = in_training(stream, lambda _: step(fixed), options.steps)
                shares[name].append(waited / total)
    rows = {
        name: {
            "images_per_second": options.batch_size * options.batches / float(np.median(values)),
            "seconds_per_batch": spread(np.array(values) / options.batches),
            "share_of_step_waiting": spread(shares[name]),
        }
        for name, values in seconds.items()
    }
    return record("data_pipeline", options, weights, ARRAY, rows, speedups(seconds, ARRAY))


if __name__ == "__main__":
    main()
