"""The evaluation of a trained run: bits/dim of the test set, samples of every sampler, their distance to the data."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

import samplers
from data.pipeline import eval_batches
from data.source import take
from evaluation import report as reports
from evaluation.fid import frechet_distance
from evaluation.likelihood import bits_per_dim, log_likelihood
from evaluation.moments import Moments, moments
from experiment import Experiment, Failure
from experiment.pictures import save_samples
from experiment.workdir import Workdir, set_aside
from samplers.ode import PROBES

GRID_SAMPLES = 100
RELEVANT = {  # the settings that a method uses, for the report
    "pc": ("predictor", "corrector", "snr", "n_steps_each", "corrector_norm", "steps", "grid", "discretization"),
    "ode": ("rtol", "atol"),
    "ancestral": ("steps", "grid", "variance", "discretization"),
    "reverse_diffusion": ("steps", "grid", "discretization"),
    "euler_maruyama": ("steps", "grid"),
    "flow_euler": ("flow_steps", "grid"),
    "flow_heun": ("flow_steps", "grid"),
}


def check(experiment: Experiment, *, likelihood: bool) -> None:
    """Check ``config.eval``, before a training as well: a long run must not end in a misspelt word.

    Raises:
      ValueError: a value out of range, an unknown probe, or (with `likelihood`) no test set to take bits/dim of.
    """
    config = experiment.config.eval
    for name, least in (("batch_size", 1), ("num_samples", 2), ("bpd_probes", 1), ("bpd_repeats", 1)):
        if config[name] < least:
            raise ValueError(f"eval.{name} is {config[name]}; it must be at least {least}")
    if config.bpd_probe not in PROBES:
        raise ValueError(f"eval.bpd_probe is {config.bpd_probe!r}; known are {', '.join(PROBES)}")
    if likelihood and config.enable_bpd and not len(experiment.source.test):
        raise ValueError("there are no test images for bits/dim; give the data set some, or set eval.enable_bpd=False")


def settings_used(settings: samplers.Settings) -> dict[str, Any]:
    """The fields of the settings that matter to their method."""
    values = dataclasses.asdict(settings)
    return {name: values[name] for name in (*RELEVANT[settings.method], "t_min", "denoise")}


def _on_devices(x: jax.Array | np.ndarray) -> jax.Array:
    """A batch spread over the local devices where they divide it, else on one."""
    devices = jax.local_devices()
    if len(devices) == 1 or len(x) % len(devices):
        return jnp.asarray(x)
    return jax.device_put(x, NamedSharding(Mesh(np.array(devices), ("batch",)), PartitionSpec("batch")))


def bits(experiment: Experiment, variables: dict, key: jax.Array) -> dict[str, Any]:
    """bits/dim of the whole test set, each example with its own dequantisation noise and probes.

    The mean over examples of the mean over `eval.bpd_repeats` dequantisations, and its standard error over examples.
    """
    config, source = experiment.config.eval, experiment.source
    # Whatever the training did: without noise grey levels have no density (published bits/dim do the same).
    scaler = dataclasses.replace(experiment.scaler, dequantization="uniform")
    offset, dimensions = scaler.bits_offset(), int(np.prod(source.shape))
    count = min(len(source.test), config.bpd_max_examples or len(source.test))
    size = min(config.batch_size, count)

    @jax.jit
    def compute(variables: dict, image: jax.Array, keys: jax.Array) -> tuple[jax.Array, ...]:
        dequantize, probe = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        result = log_likelihood(
            experiment.sde,
            experiment.score_fn(variables),
            scaler.encode(image, dequantize),
            probe,
            probe=config.bpd_probe,
            probes=config.bpd_probes,
            rtol=config.rtol,
            atol=config.atol,
        )
        return bits_per_dim(result.nats, dimensions, offset), result.evaluations, result.converged

    values = np.zeros((config.bpd_repeats, count))
    evaluations, failed = [], 0
    with tqdm(total=values.size, unit="image", desc="bits/dim", dynamic_ncols=True) as progress:
        for repeat in range(config.bpd_repeats):
            key_repeat = jax.random.fold_in(key, repeat)
            for batch in eval_batches(source.test, batch_size=size):
                real = batch["mask"] & (batch["index"] < count)
                if not real.any():
                    break
                keys = jax.vmap(jax.random.fold_in, (None, 0))(key_repeat, batch["index"])
                out = compute(variables, _on_devices(batch["image"]), keys)
                value, spent, converged = (np.asarray(a)[real] for a in out)
                values[repeat, batch["index"][real]] = value
                evaluations.append(spent)
                failed += int((~converged).sum())
                progress.update(int(real.sum()))
    if not np.isfinite(values).all():
        raise Failure(
            f"log-likelihood not finite for {int((~np.isfinite(values)).any(0).sum())} of {count} examples "
            f"({failed} solves did not converge); loosen eval.rtol and eval.atol, or take another checkpoint"
        )
    spent = np.concatenate(evaluations)
    each = values.mean(axis=0)
    return {
        "mean": float(each.mean()),
        "standard_error": float(each.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "unit": "bits/dim" if source.levels else "bits/dim (differential)",
        "examples": count,
        "dequantization": "uniform" if source.levels else "none",
        "levels": source.levels,
        "repeats": config.bpd_repeats,
        "probe": config.bpd_probe,
        "probes": config.bpd_probes,
        "t_min": experiment.sde.t_min,
        "rtol": config.rtol,
        "atol": config.atol,
        "evaluations": {"mean": float(spent.mean()), "max": int(spent.max())},
        "not_converged": failed,
    }


def draw_samples(
    experiment: Experiment, variables: dict, method: str, count: int, key: jax.Array, batch_size: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Encoded samples [count, ...], evaluations [count], seconds without compiling; batch i from fold_in(key, i)."""
    size = min(batch_size, count)
    sampler: Callable = jax.jit(lambda v, key, z: experiment.sampler(v, method)(key, z))
    start = jax.jit(lambda key: experiment.sde.prior_sample(key, (size, *experiment.source.shape)))
    rounds = -(-count // size)
    xs, spent, seconds = [], [], 0.0
    with tqdm(total=count, unit="image", desc=method, dynamic_ncols=True) as progress:
        compiled = None
        for i in range(rounds):
            key_prior, key_path = jax.random.split(jax.random.fold_in(key, i))
            z = _on_devices(start(key_prior))
            compiled = compiled or sampler.lower(variables, key_path, z).compile()
            began = time.perf_counter()
            out = jax.block_until_ready(compiled(variables, key_path, z))
            seconds += time.perf_counter() - began
            keep = min(size, count - i * size)
            xs.append(np.asarray(out.x)[:keep])
            spent.append(np.asarray(out.evaluations)[:keep])
            progress.update(keep)
    return np.concatenate(xs), np.concatenate(spent), seconds


def _unit_pixels(experiment: Experiment, images: np.ndarray) -> np.ndarray:
    """Stored levels as numbers in [0, 1]; continuous data as they are."""
    levels = experiment.source.levels
    return images if levels is None else images.astype(np.float64) / (levels - 1)


def _halves(experiment: Experiment, count: int) -> tuple[Moments, Moments]:
    """Moments of two disjoint sets of training examples, each of `count`, or of half the set if that is less."""
    train = experiment.source.train
    count = min(count, len(train) // 2)
    order = np.random.default_rng(0).permutation(len(train))[: 2 * count]
    images = _unit_pixels(experiment, take(train, order)["image"])
    return moments(images[:count]), moments(images[count:])


def evaluate(experiment: Experiment, workdir: Workdir, step: int, variables: dict) -> dict[str, Any]:
    """Evaluate these weights, write report.json, report.md, sample grids and arrays into `workdir`; the report.

    Raises:
      Failure: a likelihood or a sample that is not finite.
    """
    config = experiment.config
    key_bits, key_samples = jax.random.split(jax.random.key(config.eval.seed))
    report: dict[str, Any] = {
        "dataset": config.data.dataset,
        "sde": config.sde.to_dict(),
        "checkpoint": {"step": step, "ema": config.eval.ema, "ema_rate": config.model.ema_rate},
        "parameters": experiment.network.count(),
        "seed": config.eval.seed,
        "environment": reports.environment(),
    }
    if config.eval.enable_bpd:
        report["bits_per_dim"] = bits(experiment, variables, key_bits)
    if config.eval.enable_sampling:
        count = config.eval.num_samples
        halves = _halves(experiment, count)
        report |= {"num_samples": count, "frechet_count": halves[0].count, "frechet_floor": frechet_distance(*halves)}
        report["samplers"] = {}
        for i, method in enumerate(config.eval.samplers):
            key = jax.random.fold_in(key_samples, i)
            x, spent, seconds = draw_samples(experiment, variables, method, count, key, config.eval.batch_size)
            if not np.isfinite(x).all():
                raise Failure(f"samples of {method} are not finite; loosen its tolerances or take more steps")
            images = experiment.scaler.decode(x)
            picture = workdir.path / "samples" / f"{method}.png"
            save_samples(set_aside(picture), x[:GRID_SAMPLES], experiment.scaler)
            np.savez_compressed(set_aside(picture.with_suffix(".npz")), samples=images)
            of_samples = moments(_unit_pixels(experiment, images))
            report["samplers"][method] = {
                "frechet_distance": float(np.mean([frechet_distance(of_samples, half) for half in halves])),
                "evaluations": {"mean": float(spent.mean()), "max": int(spent.max())},
                "seconds": seconds,
                "settings": settings_used(experiment.settings_of(method)),
            }
    reports.write(workdir.path, report)
    return report


def draw_grid(experiment: Experiment, workdir: Workdir, step: int, variables: dict) -> str:
    """Draw a grid of samples with ``sampling.method``; writes a picture and the array, returns the picture's path.

    The names hold the step, the method and the seed; earlier files of that name are set aside.
    """
    method, seed = experiment.settings.method, experiment.config.eval.seed
    x, spent, seconds = draw_samples(experiment, variables, method, GRID_SAMPLES, jax.random.key(seed), GRID_SAMPLES)
    picture = workdir.path / "samples" / f"{method}_step_{step}_seed_{seed}.png"
    save_samples(set_aside(picture), x, experiment.scaler)
    np.savez_compressed(set_aside(picture.with_suffix(".npz")), samples=experiment.scaler.decode(x))
    print(f"{len(x)} samples of {method}, {spent.mean():.0f} evaluations each, {seconds:.1f} s")
    return str(picture)
