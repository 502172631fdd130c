"""A model of latents beside a model of pixels, as large and trained as long, on crops of two photographs.

python -m benchmarks.latent --autoencoder=runs/photos_autoencoder --latent=runs/photos_latent [--pixels=runs/photos_64]

The runs of latents are those of ``make latent``. The model of pixels is trained here by ``main.py``'s own training, as
many steps as take the seconds that the latents' training took, without compiling; with --autoencoder_too the seconds of
the autoencoder's training count as well. Both are drawn of by the sampler of their config, and measured by the Frechet
distance over pixels averaged down to 16x16 of as many samples as their configs say (`eval.num_samples`), against two
halves of the training set; half against half is the floor. The seconds of a sample are those of the evaluation,
decoding among them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import experiment
import main as command
from benchmarks.common import RESULTS, path_of
from configs.vp import photos_64
from evaluation.report import environment
from experiment.workdir import Workdir, write_text

PROBE = 6  # steps by which the speed of the pixels' training is measured


def seconds_of(run: Path) -> float:
    """The seconds of a run's training, from the speeds that it has recorded, so without compiling and snapshots."""
    batch_size = Workdir(run).config().training.batch_size
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds, before = 0.0, 0
    for record in records:
        if "images_per_second" in record:
            seconds += (record["step"] - before) * batch_size / record["images_per_second"]
            before = record["step"]
    return seconds


def train_pixels(run: Path, seconds: float) -> None:
    """Train the model of pixels for so long, unless the run is there."""
    if (run / "config.json").exists():
        return
    probe = run.with_name(f"{run.name}_probe")
    config = photos_64.get_config()
    config.training.update(n_iters=PROBE, log_freq=PROBE // 2, eval_freq=0, snapshot_freq=PROBE)
    config.training.update(snapshot_freq_for_preemption=PROBE, snapshot_sampling=False)
    command.run("train", config, str(probe))
    steps = [json.loads(line) for line in (probe / "metrics.jsonl").read_text().splitlines()]
    n = max(PROBE, int(seconds * steps[-1]["images_per_second"] / config.training.batch_size))
    config = photos_64.get_config()
    config.training.update(n_iters=n, log_freq=min(10, n), eval_freq=0, snapshot_freq=n)
    config.training.update(snapshot_freq_for_preemption=n, snapshot_sampling=False)
    config.optim.decay_steps, config.optim.warmup = n, min(config.optim.warmup, n // 5)
    config.model.ema_rate = 1.0 - min(0.1, 10.0 / n)  # an average over a tenth of so short a training
    command.run("train", config, str(run))


def measured(run: Path) -> dict[str, Any]:
    """What an evaluation says of a run: distance, floor, evaluations, seconds a sample."""
    config = experiment.load(run).config
    config = config.copy_and_resolve_references()
    config.eval.enable_bpd = False
    command.run("evaluate", config, str(run))
    report = json.loads((run / "report.json").read_text())
    (method,) = config.eval.samplers
    timing = json.loads(next((run / "evaluation").glob("step_*/timing.json")).read_text())[method]
    row = report["samplers"][method]
    return {
        "parameters": report["parameters"],
        "steps": report["checkpoint"]["step"],
        "distance": row["frechet_distance"],
        "floor": report["frechet_floor"],
        "over": f"pixels averaged down to {report['frechet_size']}x{report['frechet_size']}",
        "sampler": method,
        "evaluations": row["evaluations"]["mean"],
        "samples": timing["samples"],
        "seconds_a_sample": timing["seconds"] / timing["samples"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing, evaluate both, and write the table as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--autoencoder", type=path_of, default=Path("runs/photos_autoencoder"))
    flags.add_argument("--latent", type=path_of, default=Path("runs/photos_latent"))
    flags.add_argument("--pixels", type=path_of, default=Path("runs/photos_64"), help="its run; made where it is not")
    flags.add_argument("--autoencoder_too", action="store_true", help="pixels are given the autoencoder's time as well")
    flags.add_argument("--out", type=path_of, default=RESULTS / "latent_photos.json")
    arguments = flags.parse_args(argv)
    folders = {"autoencoder": arguments.autoencoder, "latents": arguments.latent}
    seconds = {name: seconds_of(folder) for name, folder in folders.items()}
    given = seconds["latents"] + (seconds["autoencoder"] if arguments.autoencoder_too else 0.0)
    train_pixels(arguments.pixels, given)
    seconds["pixels"] = seconds_of(arguments.pixels)
    rows = {name: measured(folder) for name, folder in (("latents", arguments.latent), ("pixels", arguments.pixels))}
    faster = rows["pixels"]["seconds_a_sample"] / rows["latents"]["seconds_a_sample"]
    record = {"training_seconds": seconds, "models": rows, "latents_times_faster": faster, "environment": environment()}
    write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    for name, row in rows.items():
        print(
            f"{name:8} {row['parameters']:9,} parameters, {row['steps']:5} steps in {seconds[name]:6.0f} s: distance "
            f"{row['distance']:.3f} ({row['distance'] / row['floor']:.1f} floors), "
            f"{row['seconds_a_sample']:.4f} s a sample"
        )
    print(f"a sample of latents is {faster:.1f} times as fast; the autoencoder took {seconds['autoencoder']:.0f} s")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
