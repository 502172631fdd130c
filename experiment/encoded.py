"""The data set as its codec takes it: of latents, what the encoder says of each picture, computed as it is asked for.

`kept` computes it once, and maps it into memory.
"""

import dataclasses
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
    """The encoded data set, kept in `folder`, where it is computed once for all runs with the same data and encoder.

    Each set lies in a folder of its own, named after its fingerprint: changed pictures or another encoder make others.

    Args:
      encoded: as `source` makes it, of latents.
      folder: the folder of the sets; it is made where it is not there.
      batch_size: how many pictures each process encodes at once.

    Raises:
      ValueError: another command encodes the same set at this moment.
      OSError: the folder cannot be written.
    """
    return dataclasses.replace(
        encoded, train=_kept(encoded.train, folder, batch_size), test=_kept(encoded.test, folder, batch_size)
    )


def _kept(records: Any, folder: Path, batch_size: int) -> Records:
    if not len(records):
        return records
    length, fingerprint = len(records), of_records(records)
    key, about = fingerprint[:KEY_LETTERS], {"examples": length, "fingerprint": fingerprint}
    size = min(batch_size, -(-length // jax.process_count()))

    def rows(own: int) -> dict[str, np.ndarray]:
        return records.take(np.minimum(own + np.arange(size), length - 1))

    with lock.held(folder, key, "train", create=True):
        arrays = mapped.arrays(
            folder / key, about, length, lambda: mapped.batches(length, size, "encoding the data set", rows)
        )
    found = Arrays(arrays)
    found._fingerprint = fingerprint  # type: ignore[attr-defined]  # of what they were made of
    return found
