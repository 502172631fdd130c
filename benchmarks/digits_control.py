"""Steered digits, measured: classes by guidance scale, and inpainting, judged against real digits.

python -m benchmarks.digits_control --workdir=runs/digits_classes [--guide=runs/digits_classifier]

The judge of classes is scikit-learn's support vector machine, trained on the 1500 real training digits alone. Precision
(fidelity) and recall (diversity) are those of Kynkaanniemi et al. 2019 over pixels, against the training digits.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import inverse
import samplers
from benchmarks.common import RESULTS, path_of
from conditions.labels import NO_CLASS
from data.source import take
from evaluation.report import environment
from experiment import Experiment, build
from experiment.config_files import from_file
from experiment.sampling import guided, sampler
from experiment.weights import load_guided
from experiment.workdir import Workdir, write_text
from metrics.fid import frechet_distance, moments
from metrics.precision_recall import precision_recall

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
SAMPLES = 1000
INPAINTED = 100  # the first of the test set
METHODS = ("replacement", "consistent", "repaint", "dps", "pigdm", "posterior")


def drawn(experiment: Experiment, variables: dict, scale: float, seed: int) -> np.ndarray:
    """SAMPLES digits as levels, the classes in turn."""
    of_scale = dataclasses.replace(experiment, settings=dataclasses.replace(experiment.settings, guidance=scale))
    sde, told = experiment.process(variables), experiment.told(0, SAMPLES)
    key_prior, key = jax.random.split(jax.random.key(seed))
    z = sde.prior_sample(key_prior, (SAMPLES, *experiment.codec.shape))
    draw = jax.jit(lambda v, z: sampler(of_scale, v, experiment.settings.method, sde, told)(key, z).x)
    return experiment.codec.decode(np.asarray(draw(variables, z)))


def classes_by_scale(experiment: Experiment, variables: dict, seed: int) -> tuple[float, list[dict[str, float]]]:
    """The judge's accuracy on real digits it has not seen, and what becomes of samples as the scale grows."""
    from sklearn.svm import SVC

    train, test = (take(records, np.arange(len(records))) for records in _records(experiment))
    pixels = lambda images: images.reshape(len(images), -1).astype(np.float64)  # noqa: E731
    judge = SVC(gamma=0.001).fit(pixels(train["image"]), train["label"])
    accuracy = float(judge.score(pixels(test["image"]), test["label"]))
    rows, wanted = [], experiment.told(0, SAMPLES)["label"]
    for scale in tqdm(SCALES, desc="classes by scale", unit="scale"):
        found = pixels(drawn(experiment, variables, scale, seed))
        near = precision_recall(found, pixels(train["image"]))
        rows.append({
            "scale": scale,
            "recognised": float(np.mean(judge.predict(found) == wanted)),
            "precision": near.precision,
            "recall": near.recall,
            "frechet_distance": frechet_distance(moments(found / 16.0), moments(pixels(train["image"]) / 16.0)),
        })  # fmt: skip
    return accuracy, rows


def inpainting(experiment: Experiment, variables: dict, seed: int) -> list[dict[str, float | str]]:
    """The lower halves of test digits from their upper ones: root mean square error, in grey levels of 16.

    Beside the methods: digits drawn without looking at the upper half, and the best single guess that does not either.
    """
    source, settings = experiment.source, experiment.settings
    truth = take(source.test, np.arange(INPAINTED))["image"]
    height = source.shape[0] // 2
    known = np.zeros(source.shape[:2], bool)
    known[:height] = True
    x0 = jnp.asarray(experiment.codec.centres()[truth], jnp.float32)
    sde, told = experiment.process(variables), {"label": jnp.full(len(truth), NO_CLASS)}
    key_prior, key = jax.random.split(jax.random.key(seed))
    z = sde.prior_sample(key_prior, x0.shape)

    def error(levels: np.ndarray) -> float:
        return float(np.sqrt(np.mean((levels[:, height:].astype(float) - truth[:, height:]) ** 2)))

    free = jax.jit(lambda v: samplers.create(sde, guided(experiment, v, settings, sde, told), settings)(key, z).x)
    mean = np.broadcast_to(take(source.train, np.arange(len(source.train)))["image"].mean(0), truth.shape)
    levels = experiment.codec.decode(np.asarray(free(variables)))
    rows: list[dict[str, float | str]] = [
        {"method": "unconditional", "error": error(levels)},
        {"method": "mean of the training digits", "error": error(mean)},
    ]
    print("\n| inpainting | error, levels of 16 | known pixels exact |\n|---|---|---|")
    for row in rows:
        print(f"| {row['method']} | {row['error']:.2f} | |", flush=True)
    for method in tqdm(METHODS, desc="inpainting", unit="method"):
        chosen = dataclasses.replace(settings, method="ddim", eta=1.0) if method == "repaint" else settings

        def fill(v: dict, z: jax.Array, method: str = method, chosen: samplers.Settings = chosen) -> jax.Array:
            score = guided(experiment, v, chosen, sde, told)
            return inverse.create(sde, score, chosen, inverse.mask(known), method)(key, z, x0).x

        levels = experiment.codec.decode(np.asarray(jax.jit(fill)(variables, z)))
        exact = bool(np.array_equal(levels[:, :height], truth[:, :height]))
        rows.append({"method": method, "error": error(levels), "known_exact": exact})
        tqdm.write(f"| {method} | {error(levels):.2f} | {exact} |")
    return rows


def _records(experiment: Experiment) -> tuple:
    return experiment.source.train, experiment.source.test


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--config", default="configs/vp/digits_classes.py")
    flags.add_argument("--workdir", required=True, help="a run of it")
    flags.add_argument("--guide", default="", help="a classifier's run; '': the network's own unconditional score")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--out", type=path_of, default=None)
    options = flags.parse_args(arguments)
    config = from_file(options.config)
    config.sampling.guide = options.guide
    experiment = build(config)
    step, variables = load_guided(Workdir(options.workdir), experiment)
    accuracy, classes = classes_by_scale(experiment, variables, options.seed)
    result = {
        "benchmark": "digits_control",
        "config": options.config,
        "step": step,
        "guided_by": "classifier" if options.guide else "its own unconditional score",
        "samples": SAMPLES,
        "inpainted": INPAINTED,
        "seed": options.seed,
        "sampler": experiment.settings_of(experiment.settings.method).used(),
        "environment": environment(),
        "judge_on_real_test_digits": accuracy,
        "classes": classes,
    }
    print(f"judge on real test digits: {100 * accuracy:.1f} %\n\n| scale | recognised | precision | recall | Frechet |")
    print("|---|---|---|---|---|", flush=True)
    for row in classes:
        print(
            f"| {row['scale']:g} | {100 * row['recognised']:.1f} % | {row['precision']:.3f} | {row['recall']:.3f} "
            f"| {row['frechet_distance']:.3f} |"
        )
    if not options.guide:
        result["inpainting"] = inpainting(experiment, variables, options.seed)
    name = "digits_control_classifier.json" if options.guide else "digits_control.json"
    out = options.out or RESULTS / name
    write_text(out, json.dumps(result, indent=2) + "\n")
    print(f"wrote {out}")
    return result


if __name__ == "__main__":
    main()
