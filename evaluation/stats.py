"""Reference statistics of a data set, computed once and kept in a file that says what they were computed with."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from data.source import take
from evaluation import features, ingredients, statistics_file
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import barrier, is_leader
from experiment.showing import MODALITIES
from experiment.workdir import Workdir, set_aside
from experiment.writing import replacing
from metrics.fid import Accumulator, Moments
from metrics.inception import InceptionV3
from metrics.sample_set import Reference

PUBLIC_FEATURES = 10_000  # of a public file, kept for KID, precision and recall; see eval.stats_features


def check_images(experiment: Experiment) -> None:
    """Refuse, with a ValueError, data that the Inception network does not take."""
    source = experiment.source
    if not MODALITIES[source.modality].is_picture or source.levels is None or source.shape[-1] not in (1, 3):
        raise ValueError(
            f"statistics are of grey or RGB images; the examples of {source.name!r} are {source.shape}"
            f"{'' if source.levels else ' without grey levels'}"
        )


def check(experiment: Experiment) -> None:
    """Check that statistics can be computed, before anything is.

    Raises:
      ValueError: the examples are not images, or the split has fewer than 4.
    """
    check_images(experiment)
    config, source = experiment.config.eval, experiment.source
    if len(getattr(source, config.stats_split)) < 4:
        raise ValueError(f"the {config.stats_split} split of {source.name!r} has fewer than 4 images")


def path_of(experiment: Experiment, workdir: Workdir, inception: InceptionV3) -> Path:
    """The place stats/DATASET_SPLIT_RESIZE_HASH.npz in the folder, where HASH is of the Inception weights."""
    name = experiment.config.data.dataset.replace(":", "_").replace("/", "_")
    split = experiment.config.eval.stats_split
    return workdir.path / "stats" / f"{name}_{split}_{inception.resize}_{inception.sha256[:8]}.npz"


def about(experiment: Experiment, inception: InceptionV3) -> dict[str, Any]:
    """Everything that the statistics of an experiment's data depend on, as JSON."""
    config, source = experiment.config, experiment.source
    found = {
        "inception_sha256": inception.sha256,
        "resize": inception.resize,
        "dataset": config.data.dataset,
        "split": config.eval.stats_split,
        "images": len(getattr(source, config.eval.stats_split)),
        "shape": list(source.shape),
        "levels": source.levels,
        "features": config.eval.stats_features,
        "data": ingredients.of_examples(experiment, config.eval.stats_split),
    }
    return json.loads(json.dumps(found))


def compute_statistics(experiment: Experiment, workdir: Workdir, inception: InceptionV3) -> Path:
    """Compute the statistics of all of `eval.stats_split`, unflipped, and return their path, `path_of` in the folder.

    Grey levels are stretched over 0..255. `eval.stats_features` pool features, a random choice of a fixed seed, are
    kept for KID, precision and recall in float32, since float16 moves the borders of small balls: 8 kB each.
    Features are written in rounds, which a killed run goes on from and several processes share, and deleted at the end.

    Raises:
      ValueError: see `check`.
    """
    check(experiment)
    config, known = experiment.config.eval, about(experiment, inception)
    records, count = getattr(experiment.source, config.stats_split), known["images"]
    path = path_of(experiment, workdir, inception)
    rounds = Rounds(path.with_suffix(""), known, count, min(config.batch_size, count))

    def images(i: int) -> np.ndarray:
        return np.asarray(
            experiment.codec.stretch(take(records, np.array(rounds.examples(i)))[experiment.codec.pictures.field])
        )

    features.fill(rounds, inception, images, config.inception_batch_size, f"{experiment.source.name} statistics")
    if is_leader():
        order = np.random.default_rng(0).permutation(count)[: config.stats_features]
        found = features.extracted(rounds, np.sort(order))
        shuffled = found.pool[np.argsort(np.argsort(order))]  # in the random order: its first n are a random choice
        save_statistics(path, Reference(found.pool_moments, found.spatial_moments, shuffled, known))
        shutil.rmtree(rounds.folder)
    barrier("statistics saved")
    return path


def current(path: Path, experiment: Experiment, inception: InceptionV3) -> Reference | None:
    """The statistics at `path`, if they are of just this experiment's data and network."""
    try:
        found = load_statistics(path, inception)
    except (OSError, ValueError):  # there are none, they are damaged, or of another network
        return None
    return found if found.about == about(experiment, inception) else None


def save_statistics(path: Path, reference: Reference) -> None:
    """Write an .npz with the public names mu, sigma (pool) and mu_s, sigma_s (spatial); an earlier one is set aside."""
    arrays: dict[str, Any] = {"count": reference.pool.count, "about": json.dumps(reference.about)}
    arrays |= {"mu": reference.pool.mean, "sigma": reference.pool.covariance, "features": reference.features}
    if reference.spatial:
        arrays |= {"mu_s": reference.spatial.mean, "sigma_s": reference.spatial.covariance}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, **arrays)
        file.flush()  # before the earlier one leaves its place
        set_aside(path)


def load_statistics(path: str | Path, inception: InceptionV3) -> Reference:
    """Read the statistics of this project, or of a public .npz.

    Public ones are those of pytorch-fid and EDM (mu, sigma), of guided-diffusion (mu_s and sigma_s as well) and of
    score_sde (pool_3, the pool features of every image, [n, 2048], of which KID, precision and recall are taken too).
    They do not say with which network and resize they were made, so their `about` says "not recorded".

    Raises:
      ValueError: the file holds something else, or its statistics were made with another Inception network or resize.
      OSError: there is no such file.
    """
    arrays = statistics_file.contents(path)
    recorded: Any = {"inception_sha256": "not recorded", "resize": "not recorded", "dataset": Path(path).name}
    if "mu" not in arrays:
        return _of_features(path, arrays["pool_3"], recorded)
    if "about" in arrays:
        with contextlib.suppress(ValueError):
            recorded = None
            recorded = json.loads(str(arrays["about"]))
        if not isinstance(recorded, dict):
            raise ValueError(f"{path} is damaged: its entry 'about' does not say what made it; make it anew")
        for field, now, what in (
            ("resize", inception.resize, "eval.inception_resize"),
            ("inception_sha256", inception.sha256, "the SHA-256 of eval.inception"),
        ):
            if recorded.get(field) != now:
                raise ValueError(
                    f"the statistics {path} were made with {field} {recorded.get(field)}, but {what} is {now}; "
                    "a distance needs the same for both: compute them anew with --mode=stats"
                )
    count = int(arrays.get("count", 0))
    pool, spatial = _moments(arrays, "", count), _moments(arrays, "_s", count) if "mu_s" in arrays else None
    return Reference(pool, spatial, arrays.get("features"), recorded)


def _of_features(path: str | Path, features: np.ndarray, about: dict[str, Any]) -> Reference:
    """The moments of all the pool features, and a random choice of them."""
    if len(features) < 2:
        raise ValueError(f"{path} has pool_3 of {len(features)} images; 2 or more are needed")
    try:
        found = Accumulator()
        for first in range(0, len(features), 1000):  # float64 of all at once would be twice the file
            found.update(features[first : first + 1000])
    except ValueError as error:
        raise ValueError(f"{path}, pool_3: {error}") from None
    order = np.random.default_rng(0).permutation(len(features))[:PUBLIC_FEATURES]
    return Reference(found.moments(), None, np.asarray(features[order], np.float32), about)


def _moments(arrays: dict[str, np.ndarray], suffix: str, count: int) -> Moments:
    mean, covariance = (np.asarray(arrays[name + suffix], np.float64) for name in ("mu", "sigma"))
    return Moments(mean, covariance, count)
