"""Whether a place can be written, before anything is computed for it; and files that appear whole or not at all."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def check(folder: Path, *places: str) -> None:
    """Refuse a folder where one of the `places` could not be written; a name that ends in / is of a folder.

    Raises:
      OSError: a file in the place of a folder or the other way round, one that may not be written, a full disk.
    """
    for path, wants_folder in ((folder, True), *((folder / place, place.endswith("/")) for place in places)):
        if os.path.lexists(path) and not path.exists():
            raise FileExistsError(f"{path} is a link to nothing; mend or remove it, or give another --workdir")
        if path.exists() and path.is_dir() != wants_folder:
            there, needed = ("a file", "folder") if wants_folder else ("a folder", "file")
            raise FileExistsError(
                f"{path} is {there}, and a {needed} is written there; move it, or give another --workdir"
            )
        written = path if path.is_dir() else next(parent for parent in path.parents if parent.exists())
        if complaint := unwritable(written):
            raise OSError(f"{path} cannot be written: {complaint}; mend that, or give another --workdir")
        if path.is_file() and not os.access(path, os.W_OK):
            raise PermissionError(f"{path} may not be written; mend that, or give another --workdir")


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder that exists; None where it can."""
    if not folder.is_dir():
        return f"{folder} is a file"
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        return f"{folder} {'lies on a read-only file system' if read_only else 'may not be written by this user'}"
    space = os.statvfs(folder)
    if (space.f_blocks and not space.f_bavail) or (space.f_files and not space.f_favail):
        return f"there is no space left on the disk of {folder}"
    return None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the path's name at the end: a kill or a full disk leaves the old one, never a half.

    Raises:
      OSError: it could not be written, named by `path`; also where NumPy or PIL made another error of that.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # machines that share a folder may share a pid
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, OSError):
            reason = reason.__context__
        if reason is None or not isinstance(error, Exception):
            raise
        number = reason.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error
