"""Which pictures lie below a folder, and what else lies there and is left out.

Links to folders are followed, each folder once: one that is reached twice, by a link to it or to a folder above, has
the name that it has without links, or else that of the first link to it. Hidden files and folders, whose names begin
with a dot, are left out.
"""

import heapq
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from absl import logging

from data.fingerprint import Openable

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
LABELS_FILE = "dataset.json"
TEXT_SUFFIX, METADATA_FILE = ".txt", "metadata.jsonl"  # what captions are in


@dataclass
class Listing:
    """The files below `root`, named by their path from there, in the order of these names. A file is a Path or a member
    of an archive; its str() names it in messages.

    Attributes:
      pictures: the files of SUFFIXES.
      labels: the files called dataset.json.
      captioned: whether captions are wanted; what they would be in is left out otherwise.
      texts: the files of TEXT_SUFFIX.
      metadata: the files called metadata.jsonl.
      left_out: how many files of each other kind there are.
      met_twice: linked folders that are read under another name.
    """

    root: str
    captioned: bool = False
    pictures: dict[str, Openable] = field(default_factory=dict)
    labels: dict[str, Openable] = field(default_factory=dict)
    texts: dict[str, Openable] = field(default_factory=dict)
    metadata: dict[str, Openable] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    met_twice: list[str] = field(default_factory=list)

    def add(self, name: str, file: Openable) -> None:
        """Put a file where it belongs by its kind."""
        base = name.rpartition("/")[2]
        suffix = os.path.splitext(base)[1].lower()
        if suffix in SUFFIXES:
            self.pictures[name] = file
        elif base == LABELS_FILE:
            self.labels[name] = file
        elif self.captioned and suffix == TEXT_SUFFIX:
            self.texts[name] = file
        elif self.captioned and base == METADATA_FILE:
            self.metadata[name] = file
        else:
            self.left_out[suffix or "without a suffix"] += 1

    def finished(self) -> "Listing":
        """This listing with its pictures in order; says in one line what is left out.

        Raises:
          ValueError: there is no picture.
        """
        self.pictures = {name: self.pictures[name] for name in sorted(self.pictures, key=lambda n: n.split("/"))}
        left_out = ", ".join(f"{count} {kind}" for kind, count in self.left_out.most_common())
        kinds = ", ".join(sorted(SUFFIXES))
        if not self.pictures:
            raise ValueError(
                f"folder: no image file ({kinds}) below {self.root}; left out are {left_out or 'no others either'}"
            )
        if left_out:
            logging.warning(
                "%s: %d pictures are read (%s), left out are %s", self.root, len(self.pictures), kinds, left_out
            )
        if self.met_twice:
            logging.warning(
                "%s: %d linked folders are met more than once and read once, the first %s",
                *(self.root, len(self.met_twice), self.met_twice[0]),
            )
        return self


def of_folder(root: Path, *, captioned: bool = False) -> Listing:
    """What lies below a folder, files of captions among it where they are wanted.

    Raises:
      ValueError: it holds no picture, or a folder in it cannot be looked into.
    """
    listing, seen = Listing(str(root), captioned), set()
    plain: list[tuple[str, str]] = [("", str(root))]
    linked: list[tuple[list[str], str, str]] = []  # a heap: the first by name is next, once no plain folder is left
    while plain or linked:
        prefix, folder = plain.pop() if plain else heapq.heappop(linked)[1:]
        identity = _identity(folder)
        if identity in seen:
            listing.met_twice.append(folder)
            continue
        seen.add(identity)
        for entry in _entries(folder):
            name, link = prefix + entry.name, entry.is_symlink()
            if entry.name.startswith("."):
                listing.left_out["hidden"] += 1
            elif link and os.path.isdir(entry.path):
                heapq.heappush(linked, (name.split("/"), f"{name}/", entry.path))
            elif not link and entry.is_dir():
                plain.append((f"{name}/", entry.path))
            elif os.path.isfile(entry.path) if link else entry.is_file():
                listing.add(name, Path(entry.path))
            else:
                listing.left_out["broken links and other things that are no files"] += 1
    return listing.finished()


def _identity(folder: str) -> tuple[int, int]:
    """What two paths to one folder have in common."""
    try:
        found = os.stat(folder)
    except OSError as error:
        raise ValueError(f"folder: {folder} cannot be looked into ({error.strerror})") from error
    return found.st_dev, found.st_ino


def _entries(folder: str) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise ValueError(f"folder: {folder} cannot be looked into ({error.strerror})") from error
