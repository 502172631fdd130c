"""Text files as a data set: characters, bytes or pieces of a tokenizer, in chunks."""

import codecs
from pathlib import Path

from data import chunks
from data.alphabets import alphabet_of
from data.source import Source

ENDING = ".txt"


def text(
    *,
    path: str,
    test_path: str = "",
    alphabet: str = "characters",
    length: int = 128,
    stride: int = 0,
    test_fraction: float = 0.1,
) -> Source:
    """The text of a UTF-8 file, or of all `.txt` files below a folder, in chunks of `length` symbols.

    Args:
      path: the file, or the folder, whose files follow one another in the order of their names.
      test_path: the same of the test set; "": the last `test_fraction` of the text, and no chunk goes over the cut.
      alphabet: "characters", those that occur in the text; "bytes", those of its UTF-8; or the tokenizer.json of a
        tokenizer (the `tokenizers` library). The characters of a text at `test_path` must all occur in that at `path`.
      length: symbols of a chunk.
      stride: symbols from the beginning of a training chunk to that of the next: 1 makes a chunk of every place, which
        a short text needs; 0: the length, so that none overlap. Test chunks never overlap.
      test_fraction: see `test_path`; 0: there is no test set.

    Raises:
      ValueError: there is no such file, or it is not UTF-8, empty, or shorter than a chunk; or as `alphabet_of`.
    """
    whole = read(path, "data.path")
    if test_path:
        train, test = whole, read(test_path, "data.test_path")
    else:
        cut = len(whole) - round(test_fraction * len(whole))
        train, test = whole[:cut], whole[cut:]
    return chunks.of_texts("text", train, test, alphabet=alphabet_of(alphabet, whole), length=length, stride=stride)


def read(path: str, field: str) -> str:
    """The text at a path that this field of a config names, as it stands; a mark at its beginning is dropped.

    Raises:
      ValueError: there is no such file, or one of them is not UTF-8, or there is no text in them.
    """
    if not path.strip():
        raise ValueError(f"{field} is {path!r}; give a text file, or a folder of {ENDING} files")
    place = Path(path)
    files = [place] if place.is_file() else sorted(place.rglob(f"*{ENDING}"))
    if not files:
        what = f"a folder without {ENDING} files" if place.is_dir() else "no file and no folder"
        raise ValueError(f"{field} is {path!r}, which is {what}; give a text file, or a folder of {ENDING} files")
    found = "".join(_decoded(file) for file in files)
    if not found:
        raise ValueError(f"{field}: {path} is empty; give a file with text in it")
    return found


def _decoded(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        other = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin1"
        raise ValueError(
            f"{file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8, for example with "
            f"iconv -f {other} -t utf-8"
        ) from error
