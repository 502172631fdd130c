"""Pictures in a zip file, as the tools of StyleGAN and EDM write them: read in place, nothing is unpacked."""

import io
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

from data.listing import Listing

MAX_BYTES = 2**29  # of one file; the largest picture that is read takes less in any format
APPLE = "__MACOSX"  # a folder of macOS's own, whose files are called like pictures and are none


class Archive:
    """A zip file that several threads may read; another process opens it again."""

    def __init__(self, path: Path):
        """Reads the directory; ValueError where it is no zip file or damaged."""
        self.path, self._lock = path, threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # damage comes as any error of zipfile, struct or the disk
            raise ValueError(f"folder: {path} is not a zip file that can be read: {error}") from error

    def __reduce__(self) -> tuple:
        return Archive, (self.path,)

    def members(self) -> list[zipfile.ZipInfo]:
        """The files in it, folders left out."""
        return [info for info in self._zip.infolist() if not info.filename.endswith("/")]

    def read(self, name: str) -> bytes:
        """The content of a file; its size is looked at first. Raises OSError, also where its checksum is wrong."""
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise OSError("it is encrypted; make the zip file without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError("it is compressed by a rare method; make the zip file with deflate, or without compression")
        if info.file_size > MAX_BYTES:
            raise OSError(f"it has {info.file_size} bytes, and {MAX_BYTES} are allowed")
        try:
            with self._lock, self._zip.open(info) as file:
                return file.read(info.file_size)
        except Exception as error:  # as above
            raise OSError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    archive: Archive
    name: str

    def open(self, mode: str = "rb") -> io.BytesIO:
        """The whole content, in memory; OSError where it cannot be read."""
        return io.BytesIO(self.archive.read(self.name))

    def __str__(self) -> str:
        return f"{self.archive.path}/{self.name}"


def of_archive(path: Path, *, captioned: bool = False) -> Listing:
    """What lies in a zip file, files of captions among it where they are wanted.

    Raises:
      ValueError: it cannot be read, or holds no picture, or one name twice.
    """
    archive, listing, seen = Archive(path), Listing(str(path), captioned), set()
    for info in archive.members():
        name = info.filename.removeprefix("./")
        if name in seen:
            raise ValueError(f"folder: {path} holds {name!r} more than once; make the zip file again")
        seen.add(name)
        parts = name.split("/")
        if APPLE in parts or any(part.startswith(".") for part in parts):
            listing.left_out["hidden"] += 1
        else:
            listing.add(name, Member(archive, info.filename))
    return listing.finished()
