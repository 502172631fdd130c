"""What a dataset is: two random-access sets of examples and the facts a model needs about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from data.alphabet import Alphabet

Example = dict[str, Any]


class Unreadable(ValueError):
    """An example cannot be read, at the start or in the middle of a run; the message names its file."""


class Records(Protocol):
    """Random access to examples: `records[i]` is a dict, a pure function of i.

    "image" is the data of any modality: uint8 [h, w, c] of images, float32 [length, channels] of signals, float32
    [n, d] of point sets, int32 [length] of texts, ... (`Source.modality`); "label" is an int and "caption" a text where
    there is one; and of sets that may have fewer points than an example has places for, "present" bool [n] says which
    there are (`Source.padded`): the coordinates of the others are NaN.
    """

    def __len__(self) -> int:
        """The number of examples."""

    def __getitem__(self, index: int) -> Example:
        """Example `index`, 0 <= index < len; raises Unreadable where its file is damaged or gone."""


@dataclass(frozen=True)
class Source:
    """A dataset: `shape` is an example's, `levels` how many grey levels it has (None: continuous).

    `num_classes`: "label" counts from 0 to below it; 0 where examples have none. `class_names`: those of the labels in
    their order; empty where they are not known. `vocabulary`: the words of every "caption", where they are
    few and known. `modality`: what the axes of an example mean, by a name of `experiment.showing.MODALITIES`.
    `rate`: samples of a signal, or frames of a clip, a second; 0 where that is not known. `alphabet`: what the numbers
    of a text stand for; None where an example is none. `padded`: whether points of an example may be absent, so that
    every record says by "present" which there are.
    """

    name: str
    train: Records
    test: Records
    shape: tuple[int, ...]
    levels: int | None
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    modality: str = "image"
    rate: float = 0.0
    alphabet: Alphabet | None = None
    padded: bool = False

    @property
    def num_categories(self) -> int | None:
        """How many values each number of an example may have, counted from 0; None where data are continuous."""
        return len(self.alphabet) if self.alphabet is not None else self.levels


class Arrays:
    """Records in memory: a dict of arrays with one leading axis. `Arrays[i]` takes an array of i too."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = dict(arrays)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: Any) -> Example:
        return {name: array[index] for name, array in self.arrays.items()}

    take = __getitem__


def take(records: Records, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `indices`, stacked; in one call where `records` has a `take` of its own."""
    if hasattr(records, "take"):
        return records.take(indices)
    examples = [records[int(i)] for i in indices]
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}
