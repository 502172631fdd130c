"""The files of a TFDS data set that was prepared as array_record; reading them needs no TensorFlow."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DESCRIPTIONS = ("dataset_info.json", "features.json")  # what TFDS writes beside the examples


def prepared(dataset: str, data_dir: str | None) -> Any:
    """TFDS's builder of the data set `dataset` below `data_dir` (None or "": TFDS's own folder).

    Raises:
      FileNotFoundError: it was not prepared there.
      ValueError: its description cannot be read.
    """
    import tensorflow_datasets as tfds

    where = data_dir or tfds.core.constants.DATA_DIR
    try:
        return tfds.core.read_only_builder.builder_from_files(dataset, data_dir=data_dir or None)
    except tfds.core.DatasetNotFoundError as error:
        raise FileNotFoundError(
            f"TFDS dataset {dataset!r} is not prepared in {where}: prepare it once as array_record "
            "(cifar10: `make data-cifar10`; needs TensorFlow, reading does not) or set data_dir to the right folder"
        ) from error
    except Exception as error:  # a damaged description comes as any error of JSON, protobuf or TFDS
        named = ", ".join(map(str, _damaged(Path(where, dataset)))) or " or ".join(DESCRIPTIONS)
        raise ValueError(
            f"TFDS dataset {dataset!r} in {where} cannot be read, {named} is missing or damaged: prepare it again "
            f"({type(error).__name__}: {line(error)})"
        ) from error


def examples(
    builder: Any, dataset: str, split: str, decoders: Mapping[str, Any] | None = None
) -> tuple[Any, Sequence[Any]]:
    """The examples of a split, a TFDS expression ("train[:90%]"), and TFDS's instructions which files they are in.

    Raises:
      ValueError: there is no such split, the data set is stored in another form, or a file of it is missing, damaged or
        holds another number of examples than TFDS has written down.
    """
    try:
        records = builder.as_data_source(split=split, decoders=decoders)
    except NotImplementedError as error:
        raise ValueError(
            f"TFDS dataset {dataset!r} in {builder.data_dir} is stored as "
            f"{builder.info.file_format.value}; prepare it again with file_format='array_record'"
        ) from error
    except ValueError as error:
        known = ", ".join(builder.info.splits)
        raise ValueError(f"TFDS dataset {dataset!r} has no split {split!r}; it has {known}") from error
    shards = builder.info.splits[split].file_instructions
    _check_files(shards)
    return records, shards


def _damaged(folder: Path) -> list[Path]:
    """The descriptions below that are missing, or no JSON objects with something in them."""

    def sound(file: Path) -> bool:
        try:
            described = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(described, dict) and bool(described)

    versions = {file.parent for name in DESCRIPTIONS for file in folder.rglob(name)}
    return [version / name for version in sorted(versions) for name in DESCRIPTIONS if not sound(version / name)]


def _check_files(shards: Sequence[Any]) -> None:
    """ValueError where a file is missing or damaged, or holds another number of examples than TFDS has written down."""
    from array_record.python.array_record_module import ArrayRecordReader

    for shard in shards:
        name = str(shard.filename)
        try:
            reader = ArrayRecordReader(name)
            found = reader.num_records()
            reader.close()
        except Exception as error:  # RuntimeErrors and others, by the kind of damage
            raise ValueError(f"TFDS: {name} cannot be read, prepare the data set again ({line(error)})") from error
        if found != shard.examples_in_shard:
            raise ValueError(
                f"TFDS: {name} holds {found} examples, and dataset_info.json beside it says "
                f"{shard.examples_in_shard}; prepare the data set again"
            )


def line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())
