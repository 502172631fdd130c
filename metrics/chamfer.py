"""Distances between sets of points, and what they say of many sets that are drawn against many that are real."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class SetQuality(NamedTuple):
    """How drawn sets lie among real ones, by the Chamfer distance.

    Attributes:
      coverage: the share of real sets that are the nearest one of a drawn set; higher is better, and copies of one set
        alone cover one (Achlioptas et al. 2018, arXiv:1707.02392, sec. 4).
      matching_distance: the mean over real sets of the distance to the nearest drawn set; lower is better (the same).
      nearest_neighbour: the share of all sets whose nearest other one is of its own kind; 0.5 is best: drawn and real
        ones cannot be told apart (Yang et al. 2019, arXiv:1906.12320, sec. 5.1).
    """

    coverage: float
    matching_distance: float
    nearest_neighbour: float


def chamfer(a: Float[np.ndarray, "n p d"], b: Float[np.ndarray, "m q d"]) -> Float[np.ndarray, "n m"]:
    """mean_i min_j |a_i - b_j|^2 + mean_j min_i |a_i - b_j|^2 of every two sets (Fan et al. 2017, arXiv:1612.00603).

    Points with a NaN are absent; each set must have one that is there. The distance is 0 for the same points in any
    order, and takes n m p q d differences, in float64.
    """
    found = np.empty((len(a), len(b)))
    of_b, absent = np.asarray(b, np.float64), np.isnan(b).any(axis=2)
    there = ~absent / np.sum(~absent, axis=1, keepdims=True)
    for i, points in enumerate(np.asarray(a, np.float64)):
        points = points[~np.isnan(points).any(axis=1)]
        squares = np.zeros((len(b), len(points), b.shape[1]))
        for k in range(points.shape[1]):
            squares += np.square(points[None, :, None, k] - of_b[:, None, :, k])
        squares = np.where(absent[:, None, :], np.inf, squares)
        nearest = np.where(absent, 0.0, squares.min(axis=1))
        found[i] = squares.min(axis=2).mean(axis=1) + np.sum(there * nearest, axis=1)
    return found


def set_quality(drawn: Float[np.ndarray, "n p d"], real: Float[np.ndarray, "m q d"]) -> SetQuality:
    """The quality of drawn sets against real ones; compare it at equal numbers of both.

    Raises:
      ValueError: there are fewer than two of one kind.
    """
    if min(len(drawn), len(real)) < 2:
        raise ValueError(f"{len(drawn)} drawn and {len(real)} real sets; the quality is of two of each at least")
    between, within, among = chamfer(drawn, real), chamfer(drawn, drawn), chamfer(real, real)
    for distances in (within, among):
        np.fill_diagonal(distances, np.inf)
    own_drawn = within.min(axis=1) < between.min(axis=1)
    own_real = among.min(axis=1) < between.min(axis=0)
    return SetQuality(
        coverage=len(np.unique(between.argmin(axis=1))) / len(real),
        matching_distance=float(between.min(axis=0).mean()),
        nearest_neighbour=float(np.concatenate([own_drawn, own_real]).mean()),
    )
