"""Which runs can be shown, and how: one table. A new kind of data is one file and one line."""

from collections.abc import Callable
from typing import NamedTuple

from experiment import Experiment, Run
from experiment.showing import MODALITIES
from visualize import categories, pictures, plane
from visualize.payload import Payload


class DataKind(NamedTuple):
    """One kind of data.

    Attributes:
      words: what is shown of it, as a refusal names it.
      shows: whether an experiment is of this kind.
      of_run: what the page of a run holds.
    """

    words: str
    shows: Callable[[Experiment], bool]
    of_run: Callable[[Run], Payload]


KINDS: dict[str, DataKind] = {
    "pictures": DataKind(
        "images, signals, clips, volumes, point sets with Gaussian noise", pictures.shows, pictures.of_run
    ),
    "plane": DataKind("points of the plane with Gaussian noise", plane.shows, plane.of_run),
    "categories": DataKind("images and texts over categories", categories.shows, categories.of_run),
}
"""The kinds by name; the first that shows an experiment is taken."""


def kind_of(experiment: Experiment) -> DataKind:
    """The kind of an experiment; ValueError, in one line, of one that cannot be shown yet."""
    for kind in KINDS.values():
        if kind.shows(experiment):
            return kind
    known = "; ".join(kind.words for kind in KINDS.values())
    words = MODALITIES[experiment.source.modality].words
    over = " over categories" if experiment.of_categories else ""
    raise ValueError(
        f"--mode=visualize cannot show {words}{over} of shape {experiment.source.shape} yet, which are those of "
        f"{experiment.source.name!r}; it shows {known}"
    )
