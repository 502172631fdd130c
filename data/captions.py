"""The captions of pictures: from `.txt` files beside them, or from a metadata.jsonl.

A picture `a/b.png` has the caption that stands in `a/b.txt`. A metadata.jsonl, as the image folders of the `datasets`
library have it, says on each line {"file_name": "b.png", "caption": "a red kite"}, with the name from its own folder;
where there is one, `.txt` files are not read.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from os.path import splitext
from typing import Any

from data.archive import MAX_BYTES
from data.fingerprint import Openable
from data.listing import METADATA_FILE, Listing
from limits import shown

NAME, CAPTION = "file_name", "caption"  # the fields of a line of metadata.jsonl
MOST_BYTES = 2**16  # of one caption


def of_listing(listing: Listing) -> dict[str, str]:
    """The caption of each picture of a listing that was made with captions, white space made single spaces.

    Raises:
      ValueError: there are no captions, a picture has none, a caption has no picture, or one is empty, longer than
        MOST_BYTES or not UTF-8; or the metadata.jsonl cannot be read, or is one of several.
    """
    if listing.metadata:
        return _of_metadata(listing)
    if not listing.texts:
        raise ValueError(
            f"folder: there are no captions in {listing.root}; put a .txt file beside each picture, or a "
            f'{METADATA_FILE} with lines {{"{NAME}": ..., "{CAPTION}": ...}}, or set data.captions to False'
        )
    text_of = {splitext(name)[0]: file for name, file in listing.texts.items()}
    stems = {splitext(name)[0] for name in listing.pictures}
    alone = [file for stem, file in text_of.items() if stem not in stems]
    if alone:
        raise ValueError(
            f"folder: {len(alone)} caption file(s) have no picture, the first {alone[0]}; add the picture of the same "
            "name, or remove the file"
        )
    without = [file for name, file in listing.pictures.items() if splitext(name)[0] not in text_of]
    if without:
        raise ValueError(
            f"folder: {len(without)} picture(s) have no caption, the first {without[0]}; put a .txt file of the same "
            "name beside each, or set data.captions to False"
        )
    with ThreadPoolExecutor() as pool:
        captions = list(pool.map(_text, text_of.values()))
    of_stem = dict(zip(text_of, captions, strict=True))
    return {name: of_stem[splitext(name)[0]] for name in listing.pictures}


def _of_metadata(listing: Listing) -> dict[str, str]:
    if len(listing.metadata) > 1:
        first, second, *_ = listing.metadata.values()
        raise ValueError(f"folder: captions are in {first} and in {second}; leave one {METADATA_FILE}")
    ((place, file),) = listing.metadata.items()
    prefix, found = place.removesuffix(METADATA_FILE), {}
    for number, line in enumerate(_read(file, MAX_BYTES).split("\n"), start=1):
        if not line.strip():
            continue
        name, caption = _entry(line, f"{file}, line {number}")
        picture = prefix + name
        if picture in found:
            raise ValueError(f"{file}, line {number}: {name} has more than one caption")
        if picture not in listing.pictures:
            raise ValueError(f"{file}, line {number}: {name} has a caption, and there is no such picture")
        found[picture] = caption
    without = [name for name in listing.pictures if name not in found]
    if without:
        raise ValueError(
            f"{file}: {len(without)} picture(s) have no caption, the first {without[0]}; give each a line, or set "
            "data.captions to False"
        )
    return found


def _entry(line: str, where: str) -> tuple[str, str]:
    """The file name and the caption of a line of metadata.jsonl; `where` it stands is said in messages."""
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}") from error
    fields = entry if isinstance(entry, dict) else {}
    for field in (NAME, CAPTION):
        if not isinstance(fields.get(field), str):
            raise ValueError(f'{where} is {shown(line)}; each line is {{"{NAME}": "a.png", "{CAPTION}": "a red kite"}}')
    return fields[NAME].replace("\\", "/").removeprefix("./"), _caption(fields[CAPTION], where)


def _text(file: Openable) -> str:
    return _caption(_read(file, MOST_BYTES), str(file))


def _caption(text: str, where: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise ValueError(f"{where}: the caption is empty; write one, or remove the picture")
    return words


def _read(file: Openable, most: int) -> str:
    """The text of a file in UTF-8, with or without a mark at its beginning."""
    try:
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error
    if len(content) > most:
        raise ValueError(f"{file} has more than {most} bytes; captions are shorter")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
