"""The trilemma measured: quality, diversity and speed of every family of generative models on the same digits.

python -m benchmarks.trilemma [--seconds=360] [--seeds 0 1 2] [--families NAME ...] [--folder=runs/trilemma]

Every family has the same data and the same training time on the same machine: a few steps of each training are timed,
and it takes as many as fill its share of --seconds. Compiling is left out. Nothing else should run beside it. A killed
benchmark goes on where it stopped, with the number of steps that it had found.

All are judged alike, on --samples samples against as many training digits (`benchmarks.trilemma.judge`); the spread is
that of the seeds, each a training and a set of samples of its own. The table and the picture of triangles are written
beside the JSON.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import experiment
import main as command
from benchmarks.common import RESULTS, path_of
from benchmarks.trilemma import table
from benchmarks.trilemma.families import FAMILIES, Family, Runs, Stage
from benchmarks.trilemma.judge import Judge
from data.fingerprint import of_facts
from evaluation.report import environment
from experiment.sampling import Drawn
from experiment.workdir import OTHER_RUNS, Workdir, flatten, write_text

PROBE = 60  # steps by which the speed of a training is measured, the first half of which is not counted
TIMED = 5.0  # seconds that the draws of a sampler fill together, at least


def steps_of(stage: Stage, config: ConfigDict, folder: Path, seconds: float) -> int:
    """The steps that a training takes in so many seconds, timed once and then kept in the folder, for all seeds alike.

    The runs of stages before it, whose folders the config names, are each seed's own and make no other config.

    Raises:
      SystemExit: the folder is of another training time, config, device or version of a package.
    """
    kept = folder.with_name(f"{folder.name}_steps.json")
    fields = {name: value for name, value in flatten(config.to_dict()).items() if name not in OTHER_RUNS}
    about = {"seconds": seconds, "config": of_facts(json.loads(json.dumps(fields))), **environment()}
    if kept.exists():
        found = json.loads(kept.read_text())
        for name, value in about.items():
            if found["about"].get(name) != value:
                raise SystemExit(
                    f"error: {folder} was timed with another {name} ({found['about'].get(name)}, now {value}); choose "
                    "another --folder"
                )
        return int(found["steps"])
    probe = folder.with_name(f"{folder.name}_probe")
    short = scaled(stage, config, PROBE)
    short.training.log_freq = PROBE // 2
    command.run("train", short, str(probe))
    records = [json.loads(line) for line in (probe / "metrics.jsonl").read_text().splitlines()]
    speed = [record["images_per_second"] for record in records if "images_per_second" in record][-1]
    steps = max(PROBE, int(seconds * speed / config.training.batch_size))
    write_text(kept, json.dumps({"about": about, "steps": steps}) + "\n")
    return steps


def scaled(stage: Stage, config: ConfigDict, steps: int) -> ConfigDict:
    """The config of a training of so many steps: its schedules are stretched, and nothing is drawn in between."""
    config, before = config.copy_and_resolve_references(), config.training.n_iters
    config.training.update(n_iters=steps, eval_freq=0, log_freq=max(1, min(50, steps // 2)), snapshot_freq=steps)
    config.training.update(snapshot_freq_for_preemption=max(1, steps // 4), snapshot_sampling=False)
    config.optim.decay_steps = steps if config.optim.decay_steps else 0
    config.optim.warmup = min(config.optim.warmup, steps // 10)
    for name in stage.stretched:
        config.training[name] = max(1, round(config.training[name] * steps / before))
    return config


def trained(family: Family, folder: Path, seconds: float, seed: int) -> Runs:
    """Train what is missing of a family with one seed; the folders of its stages."""
    runs: Runs = {}
    for stage in family.stages:
        config = stage.config(runs)
        run = folder / family.name.replace(" ", "_") / f"seed_{seed}_{stage.name}"
        run.parent.mkdir(parents=True, exist_ok=True)
        steps = steps_of(stage, config, run.parent / stage.name, seconds * stage.share)
        config = scaled(stage, config, steps)
        config.seed = seed
        command.run("train", config, str(run))
        runs[stage.name] = run
    return runs


def bits_of(family: Family, runs: Runs) -> float | None:
    """The bits/dim of the test digits that the last stage's report says; None where the family has none."""
    if not family.bits:
        return None
    run = list(runs.values())[-1]
    report = run / "report.json"
    if not report.exists():
        config = Workdir(run).config().copy_and_resolve_references()
        config.eval.enable_sampling = False
        command.run("evaluate", config, str(run))
    found: Any = json.loads(report.read_text())
    for key in family.bits:
        found = found[key]
    return float(found)


def carried(count: int, size: int) -> int:
    """How many samples are carried where so many are asked for: whole batches, which the seconds are of."""
    return -(-count // min(count, size)) * min(count, size)


def timed(draw: Callable[..., Drawn], count: int, size: int, seed: int) -> tuple[Drawn, float]:
    """Samples, and the seconds of one: those of the median draw of as many as fill TIMED seconds, without compiling."""
    samples = draw(jax.random.key(seed), count)
    seconds = [samples.seconds]
    while sum(seconds) < TIMED:
        seconds.append(draw(jax.random.key(seed), count).seconds)
    return samples, statistics.median(seconds) / carried(count, size)


def measured(family: Family, runs: Runs, judge: Judge, count: int, seed: int) -> list[dict[str, Any]]:
    """The row of each way of drawing from a family that is trained."""
    run, bits = experiment.load(list(runs.values())[-1]), bits_of(family, runs)
    rows = []
    for way in family.ways:
        samples, seconds = timed(run.sampler(**way.options), count, run.config.eval.batch_size, seed)
        rows.append({
            "family": family.name, "way": way.name, "seed": seed, "steps": run.step,
            "parameters": run.experiment.network.count(), **judge.of(samples.x),
            "evaluations": float(samples.evaluations.mean()), "seconds_a_sample": seconds,
            "bits_per_dim": bits,
        })  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Train, draw and judge; write the record, the table and the picture after every training."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [family.name for family in FAMILIES]
    flags.add_argument("--seconds", type=float, default=360.0, help="of each family's training, compiling left out")
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    flags.add_argument("--families", nargs="+", choices=names, default=names)
    flags.add_argument("--samples", type=int, default=718, help="half of the training digits, at most")
    flags.add_argument("--folder", type=path_of, default=Path("runs/trilemma"))
    flags.add_argument("--out", type=path_of, default=RESULTS / "trilemma_digits.json")
    arguments = flags.parse_args(argv)
    if not 0 < arguments.seconds < math.inf:
        flags.error(f"--seconds is {arguments.seconds}; it must be above 0")
    if min(arguments.seeds) < 0 or len(set(arguments.seeds)) < len(arguments.seeds):
        flags.error(f"--seeds are {arguments.seeds}; each must be 0 or more, and given once")
    judge, rows = Judge(arguments.samples), []
    for seed in arguments.seeds:
        for family in (each for each in FAMILIES if each.name in arguments.families):
            runs = trained(family, arguments.folder, arguments.seconds, seed)
            rows += measured(family, runs, judge, arguments.samples, seed)
            record = {
                "training_seconds": arguments.seconds, "samples": arguments.samples, "seeds": arguments.seeds,
                "real": judge.real, "floor": judge.floor, "rows": rows, "summary": table.summary(rows),
                "environment": environment(),
            }  # fmt: skip
            write_text(arguments.out, json.dumps(record, indent=2) + "\n")
            write_text(arguments.out.with_suffix(".md"), table.markdown(record))
            table.picture(arguments.out.with_suffix(".png"), record)
    print(table.markdown(record))
    print(f"wrote {arguments.out}, and .md and .png beside it")


if __name__ == "__main__":
    main()
