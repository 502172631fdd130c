"""Any TensorFlow Datasets set of texts that was prepared as array_record, in chunks; read without TensorFlow."""

from data import chunks
from data.alphabets import alphabet_of
from data.source import Source, Unreadable
from data.tfds_files import examples, line, prepared


def tfds_text(
    *,
    dataset: str,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    text_key: str = "text",
    alphabet: str = "characters",
    length: int = 128,
    stride: int = 0,
) -> Source:
    """The texts of the TFDS data set `dataset` ("tiny_shakespeare", "lm1b", "wikipedia/20230601.en").

    All texts of a split are read into memory at once, and follow one another with a line between them.

    Args:
      dataset: its name, with that of its configuration behind a slash where it has several.
      data_dir: the folder below which it was prepared; None or "": TFDS's own.
      train_split, test_split: TFDS expressions ("train[:90%]"); an empty `test_split` means no test set.
      text_key: the feature that is the text.
      alphabet, length, stride: as `data.text.text`; characters are those of the training texts.

    Raises:
      FileNotFoundError: the data set was not prepared there.
      ValueError: its files cannot be used, it has no such texts, or they are shorter than a chunk or have a symbol that
        is none of the alphabet's.
    """
    import tensorflow_datasets as tfds

    builder = prepared(dataset, data_dir)
    features = builder.info.features
    if text_key not in features or not isinstance(features[text_key], tfds.features.Text):
        known = ", ".join(sorted(name for name in features if isinstance(features[name], tfds.features.Text)))
        raise ValueError(f"TFDS dataset {dataset!r} has no text {text_key!r}; its texts are {known or 'none'}")

    def whole(split: str) -> str:
        return "\n".join(_texts(builder, dataset, split, text_key)) if split else ""

    train, test = whole(train_split), whole(test_split)
    if not train:
        raise ValueError(f"the texts of TFDS dataset {dataset!r}, split {train_split!r}, are empty; take another split")
    return chunks.of_texts(
        f"tfds_text:{dataset}", train, test, alphabet=alphabet_of(alphabet, train), length=length, stride=stride
    )


def _texts(builder: object, dataset: str, split: str, key: str) -> list[str]:
    records, _ = examples(builder, dataset, split)
    found = []
    for i in range(len(records)):
        try:
            text = records[i][key]
            found.append(text if isinstance(text, str) else text.decode())
        except Exception as error:  # damage comes as any error of ArrayRecord or protobuf
            raise Unreadable(f"cannot read text {i} of {dataset} {split}: {line(error)}") from error
    return found
