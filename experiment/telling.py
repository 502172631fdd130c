"""What the samples of an experiment are told: classes, texts, sizes, what they enlarge, and what leads them away."""

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

import conditions
import data
import samplers
from autoencoders import Codec
from conditions import Tokens
from conditions.present import PRESENT
from conditions.readers import Reader
from conditions.sizes import of_picture
from data.source import take
from experiment import made, texts
from experiment.showing import MODALITIES

GUIDE = "guide_"
"""Ahead of the names of what is a guide's: its variables among those of a run, the fields that it reads."""

AWAY = "away_"
"""Ahead of the name of a field that says what guidance leads away from."""


class Telling(abc.ABC):
    """What the samples of an `experiment.Experiment` are told, which has these attributes and says what they are.

    Sample number i is told the same, whichever others are drawn with it.
    """

    source: data.Source
    codec: Codec
    settings: samplers.Settings
    guide: "Telling | None"
    reader: Reader | None
    prompts: tuple[str, ...]
    negative: tuple[str, ...]

    @property
    @abc.abstractmethod
    def encoded(self) -> data.Source:
        """The data set as the codec takes it."""

    @property
    @abc.abstractmethod
    def conditioner(self) -> conditions.Together:
        """From the fields of records to what the network is told."""

    @property
    @abc.abstractmethod
    def sampled_classes(self) -> int:
        """The number of classes that samples are drawn of; 0 where there are none."""

    @property
    @abc.abstractmethod
    def matches(self) -> bool:
        """Whether the network says how well images and texts fit."""

    @property
    def readers(self) -> dict[str, Reader]:
        """What reads the texts of samples, by what stands ahead of the names of the fields that it makes of them.

        The network's own has nothing there, and that of a CLIP which guides it `GUIDE`.
        """
        found = {"": self.reader, GUIDE: self.guide.reader if self.guide and self.guide.matches else None}
        return {ahead: reader for ahead, reader in found.items() if reader}

    @property
    def told_fields(self) -> tuple[str, ...]:
        """The names of fields that samples can be drawn of."""
        of_guide = Tokens.fields if self.guide and self.guide.matches else ()
        return (*self.conditioner.fields, *(GUIDE + name for name in of_guide))

    @property
    def _size(self) -> tuple[int, ...]:
        """The six numbers of the pictures (`conditions.Sizes`); zeros where examples are none, or of no known shape."""
        pictures = self.codec.pictures
        known = MODALITIES[pictures.modality].is_picture and len(pictures.shape) > 1
        return of_picture(*pictures.shape[:2]) if known else (0,) * 6

    def told(
        self, first: int, count: int, *, given: Collection[str] = (), said: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The fields of records that the samples from number `first` on are drawn of, [count, ...].

        They are the "label" ``sampling.label``, or each class in turn; what is read of `texts`, under names that begin
        with `GUIDE` what a CLIP reads of them, and under names that begin with `AWAY` what guidance leads away from
        (`untold`); the "size" of the pictures; which points of sets are `present`; and of an upsampler what it
        enlarges, the pictures of the test set in turn made smaller. What samples have none of is left out, and what is
        `given` otherwise is neither read nor made. `said` are texts that are read in place of `texts`; without any the
        network is told no text.
        """
        told, conditioner = self.labels(first, count), self.conditioner
        if "size" in conditioner.fields:
            told["size"] = np.tile(np.asarray(self.settings.told_size or self._size, np.float32), (count, 1))
        for ahead, reader in self.readers.items():
            if not set(given) & {ahead + name for name in reader.fields}:
                of_each = self.texts(first, count) if said is None else said
                read = reader.read(of_each) if len(of_each) else _repeated(reader.nothing, count)
                told |= {ahead + name: array for name, array in read.items()}
        if self.reader and self.settings.guidance_scale != 1.0 and not self.guide:
            told |= {AWAY + name: array for name, array in self._away(self.reader, first, count).items()}
        if PRESENT not in given:
            told |= self.present(first, count)
        if not set(given) & set(made.needed(conditioner).fields):
            told |= made.of_test_set(conditioner, self.codec, self.encoded, np.arange(first, first + count))
        return told

    def present(self, first: int, count: int) -> dict[str, np.ndarray]:
        """Which points the samples from number `first` on have, "present" [count, n]; nothing where all have all.

        Each has as many as a set of the training set, which is drawn by the number of the sample alone.

        Raises:
          ValueError: the training set is not there.
        """
        if PRESENT not in self.conditioner.fields:
            return {}
        train, numbers = self.source.train, range(first, first + count)
        if not len(train):
            raise ValueError(
                f"samples have as many points as the training sets of {self.source.name!r} have, and there are none; "
                "give data.path their folder, or, in Python, each sample its `present`"
            )
        found = [train[int(np.random.default_rng(number).integers(len(train)))][PRESENT] for number in numbers]
        return {PRESENT: np.array(found, bool).reshape(count, self.source.shape[0])}

    def reads_as(self, other: "Telling") -> bool:
        """Whether both read texts, and read the same in them."""
        ours, theirs = self.reader, other.reader
        return ours is not None and theirs is not None and ours.digest == theirs.digest

    def _away(self, reader: Reader, first: int, count: int) -> dict[str, np.ndarray]:
        """What is read of the texts that guidance leads away from, of the samples from number `first` on."""
        if self.negative:
            return reader.read([self.negative[i % len(self.negative)] for i in range(first, first + count)])
        return _repeated(reader.nothing, count)

    def labels(self, first: int, count: int) -> dict[str, np.ndarray]:
        """The "label" [count] of each of these samples; nothing where samples have no classes."""
        if not self.sampled_classes:
            return {}
        drawn = np.arange(first, first + count) % self.sampled_classes
        return {"label": np.full_like(drawn, self.settings.label) if self.settings.label >= 0 else drawn}

    def texts(self, first: int, count: int) -> list[str]:
        """The texts that the samples from number `first` on are drawn of: prompts or test captions, in turn.

        There are none where neither the network nor its guide reads texts.

        Raises:
          ValueError: there are neither prompts nor captions.
        """
        if not self.readers:
            return []
        numbers = np.arange(first, first + count)
        if self.prompts:
            return [self.prompts[i] for i in numbers % len(self.prompts)]
        captions = self.source.test
        records = captions.records if isinstance(captions, texts.Read) else captions  # whose texts need not be read
        found = take(records, numbers % len(records)) if len(records) else {}
        if texts.CAPTION not in found:
            raise ValueError(
                "sampling.prompt is '', and there is no test set whose captions could stand for it; say in words what "
                "the pictures are to show"
            )
        return [str(text) for text in found[texts.CAPTION]]

    def untold(self, fields: Mapping[str, Any]) -> conditions.Condition:
        """What guidance leads away from, of examples with these fields: `condition` told of nothing at all.

        Of a text it is told what the fields whose names begin with `AWAY` say, where there are any: the text of
        ``sampling.negative_prompt``, or none.
        """
        conditioner = self.conditioner.of(fields)
        away = {name.removeprefix(AWAY): array for name, array in fields.items() if name.startswith(AWAY)}
        said = conditioner.encode({**fields, **away})
        return conditioner.none(said) | {name: said[name] for name in away}


def _repeated(fields: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The same fields of so many records."""
    return {name: np.repeat(array[None], count, axis=0) for name, array in fields.items()}
