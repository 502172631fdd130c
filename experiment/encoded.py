"""The data set as its codec takes it: of latents, what the encoder says of each picture, computed as it is asked for.

`kept` computes that once, and what is read of captions, and maps both into memory.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from autoencoders import Codec, Latents
from autoencoders.latents import FIELD, MIRRORED
from data import Arrays, Source
from data.fingerprint import of_facts, of_records
from data.source import Example, Records, take
from experiment import lock, mapped
from experiment.texts import CAPTION, Read

KEY_LETTERS = 16  # of a fingerprint, in the name of a folder


class Encoded:
    """The records of pictures with what an encoder says of each in place of the picture.

    With `mirrored` they have that of its mirror image too: a mirrored picture has other latents than its own mirrored.
    """

    def __init__(self, records: Records, codec: Latents, *, mirrored: bool):
        self.records, self.codec, self.mirrored = records, codec, mirrored

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices`, encoded together."""
        found = take(self.records, indices)
        pictures = self.codec.pictures.encode(found.pop(self.codec.pictures.field))
        found[FIELD] = np.asarray(self.codec.autoencoder.encode(pictures))
        if self.mirrored:
            found[MIRRORED] = np.asarray(self.codec.autoencoder.encode(pictures[:, :, ::-1]))
        return found

    def fingerprint(self) -> str:
        """It is that of the pictures, the autoencoder and whether there are mirror images."""
        about = self.codec.about()
        return of_facts([of_records(self.records), about["autoencoder"], about["pictures"], self.mirrored])


def source(pictures: Source, codec: Codec, *, mirrored: bool = False) -> Source:
    """The data set as the codec takes it; it is that of the pictures where they are modelled themselves."""
    if not isinstance(codec, Latents):
        return pictures
    train, test = (
        Encoded(records, codec, mirrored=mirrored and records is pictures.train)
        for records in (pictures.train, pictures.test)
    )
    return dataclasses.replace(pictures, train=train, test=test, shape=codec.shape, levels=None)


def kept(encoded: Source, folder: Path, batch_size: int) -> Source:
    """The data set with what its encoders say kept in `folder`, where it is computed once for all runs.

    What an autoencoder says of pictures and what is read of captions lie apart, each in a folder named after the
    fingerprint of all that it depends on: changed examples or another encoder make others.

    Args:
      encoded: as `source` makes it.
      folder: the folder of the sets; it is made where it is not there.
      batch_size: how many examples each process encodes at once.

    Raises:
      ValueError: another command encodes the same set at this moment.
      OSError: the folder cannot be written.
    """
    return dataclasses.replace(
        encoded, train=_kept(encoded.train, folder, batch_size), test=_kept(encoded.test, folder, batch_size)
    )


class Joined:
    """Records with further fields of the same examples beside their own."""

    def __init__(self, records: Records, others: Arrays, fingerprint: str):
        self.records, self.others, self._fingerprint = records, others, fingerprint

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices`, with all fields."""
        return take(self.records, indices) | self.others.take(indices)

    def fingerprint(self) -> str:
        """It is that of what the fields were made of."""
        return self._fingerprint


def _kept(records: Any, folder: Path, batch_size: int) -> Records:
    within = records.records if isinstance(records, Encoded) else records
    read = within if isinstance(within, Read) else None
    if not len(records) or (read is None and within is records):
        return records
    bare: Any = read.records if read else within
    if isinstance(records, Encoded):
        pictures = Encoded(bare, records.codec, mirrored=records.mirrored)

        def without_captions(index: np.ndarray) -> dict[str, np.ndarray]:  # which arrays do not hold
            return {name: values for name, values in pictures.take(index).items() if name != CAPTION}

        bare = _mapped(of_records(pictures), len(records), without_captions, folder, batch_size)
    if read is None:
        return bare
    texts = _mapped(of_records(read), len(records), read.of_texts, folder, batch_size)
    return Joined(bare, texts, of_records(records))


def _mapped(
    fingerprint: str, length: int, compute: Callable[[np.ndarray], dict[str, np.ndarray]], folder: Path, batch_size: int
) -> Arrays:
    """What is computed of examples by their numbers, of so many, mapped from its folder, where it is kept."""
    key, about = fingerprint[:KEY_LETTERS], {"examples": length, "fingerprint": fingerprint}
    size = min(batch_size, -(-length // jax.process_count()))

    def rows(own: int) -> dict[str, np.ndarray]:
        return compute(np.minimum(own + np.arange(size), length - 1))

    with lock.held(folder, key, "train", create=True):
        arrays = mapped.arrays(
            folder / key, about, length, lambda: mapped.batches(length, size, "encoding the data set", rows)
        )
    found = Arrays(arrays)
    found._fingerprint = fingerprint  # type: ignore[attr-defined]  # of what they were made of
    return found
