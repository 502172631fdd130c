"""How far the maps of every method end from the exact flow, on points in the plane, after equal training time.

python -m benchmarks.maps [--seconds=60] [--methods mean_flow flow_matching]

The data are the eight Gaussians of toy_mixture8, whose flow is solved to 1e-8 from the exact prediction. Each method
trains the same network by ``main.py``'s own training for so many seconds, its teacher's among them, without compiling.
What is measured is the root mean square distance, over 2000 starting points, between where a map ends and where the
exact flow does; the data have a deviation of 1 in each direction, and two independent draws of them a distance of 2.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import experiment
import main as command
from benchmarks.common import RESULTS, path_of
from configs.vp import toy_mixture8_mlp
from evaluation.report import environment
from experiment.workdir import write_text
from samplers import solve_flow
from sde_lib import AffineSDE
from tests.oracles import Mixture, compiled

POINTS = 2000
PROBE = 200  # steps by which the speed of a training is measured
FLOW = {"sde": {"name": "flow", "t_min": 1e-3}, "model": {"prediction": "velocity"}}
EDM = {"sde": {"name": "edm", "sigma_min": 0.002, "sigma_max": 80.0}, "model": {"preconditioning": "trigflow"}}
OF_FLOW = {**FLOW, "training": {"loss": "flow_matching"}}
OF_EDM = {**EDM, "training": {"weight": "edm", "time_sampling": "lognormal"}}


class Method(NamedTuple):
    """The stages of a training, equally long, and the samplers of its end by their numbers of evaluations.

    Attributes:
      stages: changes of the config by section; each stage but the first is given the run of the stage before.
      gives: the field of ``training`` that is given its folder.
      samplers: (sampler, evaluations) of the last run. Only maps without noise have an end to be compared.
    """

    stages: tuple[Mapping[str, Mapping[str, Any]], ...]
    gives: tuple[str, ...] = ()
    samplers: tuple[tuple[str, int], ...] = (("jump", 1),)


def of(base: Mapping[str, Mapping[str, Any]], model: Mapping[str, Any] | None = None, **training: Any) -> dict:
    """The changes of a stage: those of a process, and its own."""
    return {**base, "model": {**base["model"], **(model or {})}, "training": training}


JUMPS = (("jump", 1), ("jump", 2), ("jump", 4))
CD = {"scale_mode": "fixed", "start_scales": 18, "target_ema_mode": "fixed", "start_ema": 0.0}
ICT = {"start_scales": 10, "end_scales": 1280, "P_mean": -1.1, "P_std": 2.0}
ECT = {"loss": "easy_consistency", "time_sampling": "lognormal", "P_mean": -1.1, "P_std": 2.0, "ect_q": 256}
PROGRESSIVE = {"loss": "progressive_distillation", "weight": "truncated_snr"}
HALVED = tuple(of(FLOW, **PROGRESSIVE, distilled_steps=steps) for steps in (4, 2, 1))
SCM = {"loss": "continuous_consistency", "time_sampling": "lognormal", "P_mean": -1.0, "P_std": 1.4}
SCM_STAGES = OF_EDM, of(EDM, **SCM, tangent_warmup=1000)
METHODS: dict[str, Method] = {
    "flow_matching": Method((OF_FLOW,), samplers=(*JUMPS, ("heun", 49))),
    "reflow": Method((OF_FLOW, of(FLOW, loss="flow_matching", coupling="reflow")), ("teacher",), JUMPS),
    "mean_flow": Method((of(FLOW, {"told_end": True}, loss="mean_flow"),), samplers=JUMPS),
    "mean_flow, unweighted": Method((of(FLOW, {"told_end": True}, loss="mean_flow", norm_power=0.0),), samplers=JUMPS),
    "progressive_distillation": Method((OF_FLOW, *HALVED), ("teacher", "begin_with")),
    "consistency, from data": Method((of(EDM, loss="consistency"),)),
    "consistency, distilled": Method((OF_EDM, of(EDM, loss="consistency", **CD)), ("teacher", "begin_with")),
    "improved_consistency": Method((of(EDM, loss="improved_consistency", **ICT),)),
    "easy_consistency": Method((OF_EDM, of(EDM, **ECT)), ("begin_with",)),
    "continuous_consistency, from data": Method(SCM_STAGES, ("begin_with",)),
    "continuous_consistency, distilled": Method(SCM_STAGES, ("teacher", "begin_with")),
}


def config_of(changes: Mapping[str, Mapping[str, Any]], n_iters: int) -> ConfigDict:
    """The config of a stage of so many steps."""
    config = toy_mixture8_mlp.get_config()
    with config.unlocked():
        if "sde" in changes:
            config.sde = ConfigDict(changes["sde"])
        for section in ("model", "training"):
            config[section].update(changes.get(section, {}))
    config.training.update(n_iters=n_iters, eval_freq=0, snapshot_sampling=False, keep_checkpoints=1)
    config.training.update(log_freq=50, snapshot_freq=n_iters, snapshot_freq_for_preemption=n_iters)
    config.optim.decay_steps = n_iters
    return config


def trained(method: Method, seconds: float, folder: Path) -> tuple[Path, list[int]]:
    """The folder of the last stage's run, and the steps of each stage."""
    steps, last = [], None
    for number, changes in enumerate(method.stages):
        given = {field: str(last) for field in method.gives} if last else {}
        changes = {**changes, "training": {**changes["training"], **given}}
        probe, last = folder / f"probe_{number}", folder / f"stage_{number}"
        command.run("train", config_of(changes, PROBE), str(probe))
        records = [json.loads(line) for line in (probe / "metrics.jsonl").read_text().splitlines()]
        rate = max(record["images_per_second"] for record in records if "images_per_second" in record)
        n = int(seconds / len(method.stages) * rate / config_of(changes, PROBE).training.batch_size)
        steps.append(max(n, PROBE) // 50 * 50)
        command.run("train", config_of(changes, steps[-1]), str(last))
    return last, steps


def exact_end(sde: AffineSDE, z: np.ndarray) -> np.ndarray:
    """The exact flow takes points z of the prior to these points of data, in float64."""
    angle, radius = 2 * np.pi * np.arange(8) / 8, np.sqrt(2 * (1 - 0.1**2))
    means = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    exact = Mixture(np.full(8, 1 / 8), means, np.full(8, 0.1)).predict(sde)
    with jax.enable_x64(True):
        start = jnp.asarray(z, jnp.float64)
        solve = compiled(lambda z: solve_flow(sde, exact, z, 1.0, min(sde.t_min, 1e-4), rtol=1e-8, atol=1e-8).x)
        return np.asarray(solve(start))


def measured(method: Method, run: experiment.Run) -> list[dict[str, Any]]:
    """The distances of a run's samplers from the exact end."""
    z = run.sde.prior_sample(jax.random.key(7), (POINTS, 2))
    truth, rows = exact_end(run.sde, np.asarray(z)), []
    for name, evaluations in method.samplers:
        drawn = run.sampler(name, evaluations=evaluations)(jax.random.key(8), z)
        distance = float(np.sqrt(np.mean(np.sum((drawn.x - truth) ** 2, axis=1))))
        rows.append({"sampler": name, "evaluations": int(drawn.evaluations[0]), "distance": distance})
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Train each method, and write the table as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--seconds", type=float, default=60.0, help="of training, for each method")
    flags.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    flags.add_argument("--out", type=path_of, default=RESULTS / "maps_mixture8.json")
    arguments = flags.parse_args(argv)
    found: dict[str, Any] = {}
    for name in arguments.methods:
        with tempfile.TemporaryDirectory() as folder:
            last, steps = trained(METHODS[name], arguments.seconds, Path(folder))
            found[name] = {"steps": steps, "ends": measured(METHODS[name], experiment.load(last))}
        for row in found[name]["ends"]:
            print(
                f"{name:36} {row['sampler']:6} {row['evaluations']:3d} evaluations: {row['distance']:.4f}", flush=True
            )
        record = {"seconds": arguments.seconds, "points": POINTS, "methods": found, "environment": environment()}
        write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
