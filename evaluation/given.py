"""FID and its family for pictures that are there already, whoever made them, in a folder, a zip file or an array.

No run is needed: the Inception network, the pictures and statistics of real ones are all that is compared.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from data.archive import of_archive
from data.fingerprint import Openable, of_facts, of_file, of_files
from data.images import load_image, picture_size
from data.listing import of_folder
from evaluation import features, npz, report, stats
from experiment import Failure
from experiment.rules import LEAST_FOR_INCEPTION
from metrics import sample_set
from metrics.inception import InceptionV3
from metrics.rgb import as_rgb

ARRAYS = ("samples", "arr_0")
CHUNK = 256


class Pictures(NamedTuple):
    """Pictures of one size, in a fixed order.

    Attributes:
      path: where they are.
      count: how many there are.
      size: their height and width.
      chunks: a function that reads them, uint8 [b, h, w, 3], once for each call.
      fingerprint: a function that computes the fingerprint of their content.
    """

    path: Path
    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    size: tuple[int, int]
    chunks: Callable[[], Iterator[np.ndarray]]
    fingerprint: Callable[[], str]


def prepare(config: ConfigDict, path: Path) -> Callable[[], dict[str, Any]]:
    """Look at the pictures, read the network and the statistics, and return the evaluation (`evaluate`), to be called.

    This computes and writes nothing.

    Raises:
      ValueError: `eval.inception` or `eval.reference_stats` is missing or no such file, or the pictures cannot be
        compared, because they are fewer than ten or of several sizes.
      OSError: a file is not there.
    """
    if not config.eval.reference_stats:
        raise ValueError(
            "eval.reference_stats is empty; pictures are compared with statistics of real ones: give the .npz of "
            "--mode=stats, or a public one"
        )
    pictures = find(path)
    if pictures.count < LEAST_FOR_INCEPTION:
        raise ValueError(
            f"{path} holds {pictures.count} pictures; the Inception Score needs {LEAST_FOR_INCEPTION} at least"
        )
    given = config.eval
    inception = features.load_inception(given.inception, given.inception_resize, given.inception_sha256)
    reference = stats.load_statistics(given.reference_stats, inception)
    return partial(evaluate, config, pictures, inception, reference)


def evaluate(
    config: ConfigDict, pictures: Pictures, inception: InceptionV3, reference: sample_set.Reference
) -> dict[str, Any]:
    """The report, which says what was compared with what, and has every metric.

    Raises:
      Failure: a picture, which is named, cannot be decoded, or it is unclear which floats are white.
    """
    size = config.eval.inception_batch_size
    try:
        found = features.extract(inception, pictures.chunks(), pictures.count, batch_size=size)
    except (ValueError, OSError) as error:
        raise Failure(" ".join(f"{pictures.path}: {error}".split())) from error
    return {
        "pictures": {
            "path": str(pictures.path),
            "count": pictures.count,
            "size": list(pictures.size),
            "fingerprint": pictures.fingerprint(),
        },
        "inception_sha256": inception.sha256,
        "resize": inception.resize,
        "inception": sample_set.of_set(reference, found, seed=config.eval.seed),
        "environment": report.environment(),
    }


def markdown(found: dict[str, Any]) -> str:
    """The report for people."""
    pictures = found["pictures"]
    height, width = pictures["size"]
    lines = [
        f"# {pictures['path']}",
        "",
        f"{pictures['count']} pictures of {height} x {width} pixels, resized to Inception as {found['resize']!r}.",
        "",
        *(f"- {line}" for line in sample_set.describe(found["inception"])),
        "",
        sample_set.against(found["inception"]),
    ]
    return "\n".join(lines) + "\n"


def find(path: Path) -> Pictures:
    """The pictures below a folder, in a zip file, or in an .npz under `samples` or `arr_0`.

    Raises:
      ValueError: the path is none of these, holds no picture, or holds pictures of several sizes.
      FileNotFoundError: nothing is there.
    """
    if not path.exists():
        raise FileNotFoundError(f"--samples is {str(path)!r}; there is no such file or folder")
    if path.suffix.lower() == ".npz":
        return _of_array(path)
    if path.is_file() and path.suffix.lower() != ".zip":
        raise ValueError(f"--samples is {str(path)!r}; it may be a folder of pictures, a .zip of them, or an .npz")
    return _of_files(path, (of_archive(path) if path.is_file() else of_folder(path)).pictures)


def _of_files(path: Path, named: dict[str, Openable]) -> Pictures:
    load = partial(load_image, channels=3)
    with ThreadPoolExecutor() as pool:
        sizes = dict(zip(named, pool.map(partial(_read, picture_size), named.values()), strict=True))
    first, size = next(iter(sizes.items()))
    other = next((name for name in sizes if sizes[name] != size), None)
    if other is not None:
        raise ValueError(
            f"{path} holds pictures of several sizes, {first} of {size[0]} x {size[1]} and {other} of "
            f"{sizes[other][0]} x {sizes[other][1]} (height x width); a distance is of pictures of one"
        )
    files = list(named.values())

    def chunks() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor() as pool:
            for begin in range(0, len(files), CHUNK):
                yield np.stack(list(pool.map(partial(_read, load), files[begin : begin + CHUNK])))

    return Pictures(path, len(files), size, chunks, lambda: of_facts(of_files(files, "the pictures")))


def _read(read: Callable[[Path | bytes], Any], file: Openable) -> Any:
    """What `read` makes of a file; the message of a ValueError names the file."""
    try:
        return read(file if isinstance(file, Path) else file.open("rb").read())
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _of_array(path: Path) -> Pictures:
    known = npz.headers(path, "pictures")
    name = next((name for name in ARRAYS if name in known), None)
    if name is None:
        raise ValueError(f"{path} holds no {' and no '.join(ARRAYS)}; it has {', '.join(known) or 'nothing'}")
    shape, columns, dtype, _ = known[name]
    fits = len(shape) == 4 and shape[0] and shape[-1] in (1, 3) and not columns
    if not fits or not (dtype == np.uint8 or dtype.kind == "f"):
        raise ValueError(
            f"{name} of {path} is {dtype} {shape}{' in the order of Fortran' if columns else ''}; pictures are uint8, "
            "or floats in 0 to 255, [n, height, width, 1 or 3]"
        )
    levels = 256
    if "levels" in known and not known["levels"].shape and known["levels"].dtype.kind in "iu":
        levels = int(npz.read(path, ["levels"])["levels"])  # this project has written it
    if not 2 <= levels <= 256:
        raise ValueError(f"{path} says that it has {levels} grey levels; 2 to 256 are allowed")

    def chunks() -> Iterator[np.ndarray]:
        for part in npz.rows(path, name, CHUNK, "pictures"):
            if levels < 256:
                if part.dtype != np.uint8 or part.max(initial=0) >= levels:
                    raise ValueError(
                        f"it says that it has {levels} grey levels, which are uint8 of at most {levels - 1}, and holds "
                        f"{part.dtype} up to {part.max():.4g}"
                    )
                part = np.rint(part * (255 / (levels - 1))).astype(np.uint8)
            yield as_rgb(part)

    return Pictures(path, shape[0], (shape[1], shape[2]), chunks, lambda: of_file(path))
