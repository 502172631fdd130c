"""Any TensorFlow Datasets image set that was prepared as array_record; read without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.fingerprint import of_facts, of_files
from data.images import load_image
from data.source import Arrays, Example, Records, Source, Unreadable, take
from data.tfds_files import examples, line, prepared
from limits import Sides, sides


def tfds(
    *,
    dataset: str,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    image_key: str = "image",
    label_key: str = "label",
    caption_key: str = "",
    image_size: Sides | None = None,
    crop: Sides | None = None,
    in_memory: bool = False,
) -> Source:
    """The TFDS image dataset `dataset` ("cifar10", "lsun/church_outdoor") below `data_dir` (None or "": TFDS's own).

    Splits are TFDS expressions ("train[:90%]"); an empty `test_split` means no test set. Labels come along where
    `label_key` is a feature. `caption_key` names the feature that is the caption, and "captions/text" (of COCO) one
    within another; of several texts the first is taken.
    `image_size` and `crop` are one side of a square or (height, width): `crop` cuts so many pixels out of the middle
    (140 of CelebA's), and `image_size`, which is required where the images vary in size, the largest rectangle of its
    proportions, which it resizes.
    `in_memory` decodes everything here and now: seconds for CIFAR-10, whose batches are then no work.
    Raises FileNotFoundError where the dataset was not prepared there, ValueError where it cannot be used: its
    description cannot be read, or a file of its examples is missing, damaged or holds another number of them.
    """
    import tensorflow_datasets as tfds

    builder = prepared(dataset, data_dir)
    features = builder.info.features
    if image_key not in features:
        raise ValueError(f"TFDS dataset {dataset!r} has no feature {image_key!r}; it has {', '.join(features)}")
    feature = features[image_key]
    if not isinstance(feature, tfds.features.Image) or feature.np_dtype != np.uint8 or feature.shape[-1] not in (1, 3):
        raise ValueError(f"{image_key!r} of TFDS dataset {dataset!r} is not an 8-bit grey or RGB image: {feature}")
    caption_path = _caption_path(dataset, caption_key, features) if caption_key else ()
    shape = feature.shape if image_size is None else (*sides(image_size), feature.shape[-1])
    if crop is not None:
        cut = sides(crop)
        if any(side is not None and wanted > side for wanted, side in zip(cut, feature.shape[:2], strict=True)):
            raise ValueError(f"crop={crop} does not fit into the images of TFDS dataset {dataset!r}, {feature.shape}")
        shape = shape if image_size is not None else (*cut, feature.shape[-1])
    if None in shape:
        raise ValueError(f"the images of TFDS dataset {dataset!r} vary in size {shape}: give image_size")

    # Images are decoded here rather than by TFDS, so that all sources crop and resize alike.
    decoders = {image_key: tfds.decode.SkipDecoding()}

    def split(name: str) -> Records:
        if not name:
            return Arrays({"image": np.zeros((0, *shape), np.uint8)})
        records, shards = examples(builder, dataset, name, decoders)
        decoding = {"channels": shape[-1], "size": image_size, "crop": crop}
        records = TfdsRecords(f"{dataset} {name}", records, image_key, label_key, caption_path, decoding, shards, shape)
        return Decoded(records) if in_memory else records

    label = dict(features.items()).get(label_key)
    classes, names = getattr(label, "num_classes", None) or 0, getattr(label, "names", None) or ()  # of a ClassLabel
    return Source(f"tfds:{dataset}", split(train_split), split(test_split), shape, 256, classes, tuple(names))


def _caption_path(dataset: str, key: str, features: Any) -> tuple[str, ...]:
    """The names that lead to the text called `key`; ValueError where there is no such text or sequence of texts."""
    import tensorflow_datasets as tfds

    def of_each(feature: Any) -> Any:
        return feature.feature if isinstance(feature, tfds.features.Sequence) else feature

    path, found = (key,) if key in features else tuple(key.split("/")), features
    for name in path:
        found = of_each(found)
        if not isinstance(found, tfds.features.FeaturesDict) or name not in found:
            raise ValueError(f"TFDS dataset {dataset!r} has no feature {key!r}; it has {', '.join(features)}")
        found = found[name]
    if not isinstance(of_each(found), tfds.features.Text):
        raise ValueError(f"{key!r} of TFDS dataset {dataset!r} is not a text: {found}")
    return path


def _text(record: Any, path: tuple[str, ...]) -> str:
    """The text of a record at the end of the path, or the first of several."""
    for name in path:
        record = record[name]
    text = record if isinstance(record, bytes | str) else record[0]
    return text if isinstance(text, str) else text.decode()


@dataclass(eq=False)
class TfdsRecords:
    """Records of a TFDS data source, their images decoded when asked for.

    `caption_path` are the names that lead to a caption, none where there is none; `decoding` are the options of
    `load_image`; `shards` TFDS's instructions: files and what of each is taken.
    """

    name: str
    source: Any
    image_key: str
    label_key: str
    caption_path: tuple[str, ...]
    decoding: dict[str, Any]
    shards: Sequence[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        try:
            record = self.source[index]
            image = load_image(record[self.image_key], **self.decoding)
            if image.shape != self.shape:
                raise ValueError(f"it is {image.shape} (height, width, channels), and the data set {self.shape}")
        except Exception as error:  # damage comes as any error of ArrayRecord, protobuf or the decoder
            raise Unreadable(
                f"cannot read image {index} of {self.name} in {self._file(index)}: {line(error)}"
            ) from error
        label = {"label": np.int32(record[self.label_key])} if self.label_key in record else {}
        try:
            caption = {"caption": _text(record, self.caption_path)} if self.caption_path else {}
        except (IndexError, UnicodeDecodeError) as error:
            raise Unreadable(
                f"cannot read the caption {index} of {self.name} in {self._file(index)}: {line(error)}"
            ) from error
        return {"image": image, **label, **caption}

    def _file(self, index: int) -> str:
        """The name of the file that holds example `index`."""
        ends = np.cumsum([s.examples_in_shard - s.skip if s.take < 0 else s.take for s in self.shards])
        return str(self.shards[int(np.searchsorted(ends, index, side="right"))].filename)

    def fingerprint(self) -> str:
        """The fingerprint is that of the stored files' content, of what is taken of each, and of how images are read.

        Which features they hold is TFDS's business, and the same for the same files; a data set that was prepared again
        with another number of files counts as another one.
        """
        contents = of_files([shard.filename for shard in self.shards], f"the files of {self.name}")
        taken = [(content, s.skip, s.take) for content, s in zip(contents, self.shards, strict=True)]
        facts = ["tfds", self.image_key, self.label_key, self.decoding, taken]
        return of_facts([*facts, self.caption_path] if self.caption_path else facts)


class Decoded(Arrays):
    """The examples of `records`, all decoded here and now; the fingerprint is that of the records."""

    def __init__(self, records: TfdsRecords):
        super().__init__(take(records, np.arange(len(records))))
        self.records = records

    def fingerprint(self) -> str:
        """See `TfdsRecords.fingerprint`."""
        return self.records.fingerprint()
