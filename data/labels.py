"""The classes of pictures: from the names of folders, or from a dataset.json as StyleGAN's and EDM's tools write it.

Such a file says {"labels": [["00000/img00000000.png", 3], ...]}: the names from its own folder, and classes counted
from 0; {"labels": null} says that there are none.
"""

import json
from typing import Any

from data.archive import MAX_BYTES
from data.fingerprint import Openable
from data.listing import LABELS_FILE, Listing

MOST = 10**6  # classes


def of_listing(listing: Listing) -> dict[str, int] | None:
    """The class of each picture by a dataset.json; None where there is no such file.

    Raises:
      ValueError: there are several, it cannot be read or says that there are no labels, or it leaves out a picture,
        names one that is not there or twice, or gives it something else than an integer from 0.
    """
    if not listing.labels:
        return None
    if len(listing.labels) > 1:
        first, second, *_ = listing.labels.values()
        raise ValueError(f"folder: labels are in {first} and in {second}; leave one {LABELS_FILE}")
    ((name, file),) = listing.labels.items()
    pairs = _pairs(file)
    prefix, found = name.removesuffix(LABELS_FILE), {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f'{file}: an entry is {_short(pair)}; each is a name and a label, as ["a.png", 3]')
        picture, label = prefix + pair[0].replace("\\", "/"), pair[1]
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < MOST:
            raise ValueError(
                f"{file}: the label of {pair[0]} is {_short(label)}; labels are integers from 0 to {MOST - 1}"
            )
        if picture in found:
            raise ValueError(f"{file}: {pair[0]} has more than one label")
        if picture not in listing.pictures:
            raise ValueError(f"{file}: {pair[0]} has a label, and there is no such picture in {listing.root}")
        found[picture] = label
    without = next((picture for picture in listing.pictures if picture not in found), None)
    if without is not None:
        raise ValueError(
            f"{file}: {len(listing.pictures) - len(found)} picture(s) have no label, the first {without}; give each "
            "one, or set data.classes to False"
        )
    return found


def _pairs(file: Openable) -> list[Any]:
    """The entries of a dataset.json."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{file} has more than {MAX_BYTES} bytes; labels are fewer")
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    pairs = described.get("labels") if isinstance(described, dict) else None
    if pairs is None and isinstance(described, dict):
        raise ValueError(
            f"{file} says that the pictures have no labels; set data.classes to False, or remove the file and let "
            "folders be classes"
        )
    if not isinstance(pairs, list):
        raise ValueError(f'{file} is not of the form {{"labels": [["a.png", 3], ...]}}')
    return pairs


def of_folders(listing: Listing) -> dict[str, str]:
    """The folder of each picture right below the root; ValueError for a picture in none."""
    for name, file in listing.pictures.items():
        if "/" not in name:
            raise ValueError(
                f"folder: {file} lies in no class; put each image into a folder of its class below {listing.root}"
            )
    return {name: name.partition("/")[0] for name in listing.pictures}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
