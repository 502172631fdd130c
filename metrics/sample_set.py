"""Every metric of a set of samples against the statistics of real images, and what a value may be called."""

from typing import Any, NamedTuple

import numpy as np

from metrics.fid import Moments, frechet_distance
from metrics.inception_score import inception_score
from metrics.kid import kid
from metrics.precision_recall import precision_recall

PUBLISHED_COUNT = 50_000
VALUES = {  # what `describe` and `summarise` name, where it lies in the dict of `of_set`, and its decimals
    "FID": ("fid", None, 4),
    "sFID": ("sfid", None, 4),
    "KID": ("kid", "mean", 6),
    "Inception Score": ("inception_score", "mean", 4),
    "precision": ("precision", None, 4),
    "recall": ("recall", None, 4),
}


class Extracted(NamedTuple):
    """What one pass of the Inception network leaves of a set: the moments of all images, the vectors of those kept."""

    pool: np.ndarray  # float32 [kept, 2048]
    logits: np.ndarray  # float32 [kept, 1008], without bias
    pool_moments: Moments
    spatial_moments: Moments


class Reference(NamedTuple):
    """Statistics of real images; `spatial` and `features` are None where a public file holds only mu and sigma."""

    pool: Moments
    spatial: Moments | None
    features: np.ndarray | None  # float32 [kept, 2048], in random order
    about: dict[str, Any]  # Inception's SHA-256, resize, data set, split, ...


def label(name: str, count: int) -> str:
    """The name of a value of `count` samples: FID-50k, or FID-10000 with the remark that it is not that."""
    if count == PUBLISHED_COUNT:
        return f"{name}-50k"
    if count > PUBLISHED_COUNT:
        return f"{name}-{count}"
    return f"{name}-{count} (not comparable to published {name}-50k)"


def of_set(
    reference: Reference,
    samples: Extracted,
    *,
    splits: int = 10,
    k: int = 3,
    kid_subsets: int = 100,
    kid_size: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """FID, sFID, KID, Inception Score, precision and recall of samples, all of which count.

    FID and sFID compare moments of all images. KID draws from the vectors that are kept. Precision and recall depend on
    the sizes of the sets, so they take equally many of both, as published, at random where one set is larger.

    Args:
      reference: statistics of real images, by the same network and resize.
      samples: what `evaluation.features.extract` gives, with all vectors kept.
      splits: how many parts the Inception Score has.
      k: which neighbour makes the radius of precision and recall.
      kid_subsets, kid_size: how many subsets KID has, and their size, as `metrics.kid.kid` takes them.
      seed: the seed of the subsets and of the choices.

    Returns:
      fid, sfid, kid {mean, std, subsets, size}, inception_score {mean, std, splits}, precision, recall,
      precision_recall_count, count, label, reference; None for what the reference holds no data for.

    Raises:
      ValueError: there are fewer samples than splits, or than k + 1.
    """
    count = samples.pool_moments.count
    if len(samples.pool) < max(splits, k + 1):
        raise ValueError(f"{len(samples.pool)} samples; {splits} splits and k = {k} need {max(splits, k + 1)} at least")
    result: dict[str, Any] = {
        "label": label("FID", count),
        "count": count,
        "fid": frechet_distance(reference.pool, samples.pool_moments),
        "sfid": reference.spatial and frechet_distance(reference.spatial, samples.spatial_moments),
        "kid": None,
        "inception_score": inception_score(samples.logits, splits=splits),
        "precision": None,
        "recall": None,
        "precision_recall_count": 0,
        "reference": {**reference.about, "count": reference.pool.count},
    }
    if reference.features is not None:
        values = kid(samples.pool, reference.features, subsets=kid_subsets, size=kid_size, seed=seed)
        result["kid"] = {name: value for name, value in values.items() if name != "each"}
        least = min(len(samples.pool), len(reference.features))
        pair = (_choice(vectors, least, seed) for vectors in (samples.pool, reference.features))
        found = precision_recall(*pair, k=k)
        result |= {**found._asdict(), "precision_recall_count": least}
    return result


def _choice(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    if len(vectors) == count:
        return vectors
    return vectors[np.sort(np.random.default_rng(seed).permutation(len(vectors))[:count])]


def _value(result: dict[str, Any], name: str) -> float | None:
    field, part, _ = VALUES[name]
    return result[field][part] if part and result[field] else result[field]


def describe(result: dict[str, Any]) -> list[str]:
    """A line for each value of a result of `of_set` or `summarise`, which calls it by its `label`."""
    lines = []
    for name, (field, _, digits) in VALUES.items():
        called = label(name, result["precision_recall_count"] if name in ("precision", "recall") else result["count"])
        if "seeds" in result:
            if result[field]:
                low, mean, spread = (f"{result[field][key]:.{digits}f}" for key in ("min", "mean", "spread"))
                lines.append(f"{called}: minimum {low}, mean {mean}, spread {spread} of {result['seeds']} seeds")
        elif (value := _value(result, name)) is not None:
            lines.append(f"{called}: {value:.{digits}f}")
    return lines


def against(result: dict[str, Any]) -> str:
    """The line that says what a result was compared with."""
    return f"Against {', '.join(f'{name} {value}' for name, value in result['reference'].items() if name != 'data')}."


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """min, mean, spread (max - min) and values of every metric over several seeds; the published FID is often the min.

    Args:
      results: what `of_set` gave, one for each seed, of equally many samples against one reference.

    Raises:
      ValueError: there are no results, or they are of different counts or references.
    """
    if not results:
        raise ValueError("no results to summarise")
    shared = ("label", "count", "precision_recall_count", "reference")
    for field in shared:
        if any(result[field] != results[0][field] for result in results):
            raise ValueError(f"results of different {field} cannot be summarised: {[r[field] for r in results]}")
    summary: dict[str, Any] = {"seeds": len(results), **{field: results[0][field] for field in shared}}
    for name, (field, _, _) in VALUES.items():
        values = [value for result in results if (value := _value(result, name)) is not None]
        summary[field] = None
        if len(values) == len(results):
            spread = max(values) - min(values)
            summary[field] = {"min": min(values), "mean": float(np.mean(values)), "spread": spread, "values": values}
    return summary
