"""The Inception network from the published file, and its features of many images: at once, or in rounds on disk."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from checkpoints import torch_file
from data.fingerprint import of_file
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.placing import one_ahead
from metrics.fid import Accumulator
from metrics.inception import Features, InceptionV3
from metrics.rgb import as_rgb
from metrics.sample_set import Extracted

Part = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The `Features` of some images on the host: pool [b, 2048], logits [b, 1008] and spatial [b, 2023] in float32."""
WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The SHA-256 of that file; its first eight digits are in the name."""


def load_inception(path: str, resize: str = "pytorch", expected: str = "") -> InceptionV3:
    """The network of `eval.inception`, with the file's SHA-256 as `sha256`, which goes into statistics and reports.

    A file other than the published one gives distances that no publication can be compared with, so it is taken only
    where its SHA-256 is `expected` (`eval.inception_sha256`). The sum is compared before the file is interpreted.

    Raises:
      ValueError: there is no path, the resize is unknown, the file is not the expected one or holds other tensors.
      OSError: there is no such file.
    """
    if not path:
        raise ValueError(
            f"eval.inception is empty; FID and its family need the path of {WEIGHTS}, "
            f"from https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{WEIGHTS}"
        )
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"eval.inception is {path!r}; there is no such file")
    found = of_file(file)
    if expected and found != expected.lower():
        raise ValueError(f"eval.inception is {path!r}, whose SHA-256 is {found}, and eval.inception_sha256 {expected}")
    if not expected and found != PUBLISHED:
        raise ValueError(
            f"eval.inception is {path!r}, whose SHA-256 is {found}; that of {WEIGHTS} is {PUBLISHED}: download it "
            f"again, or set eval.inception_sha256 to {found} if this file is meant"
        )
    tensors = torch_file.load(file)
    if not isinstance(tensors, Mapping):
        raise ValueError(f"{path} holds a {type(tensors).__name__}, not a dictionary of tensors such as {WEIGHTS}")
    return InceptionV3(tensors, resize, sha256=found)


def _batches(
    chunks: Iterable[np.ndarray], size: int, value_range: tuple[float, float] | None
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield batches of one size, whatever the chunks' sizes, and how many of each are real; copies fill up the last."""
    waiting: list[np.ndarray] = []
    for chunk in chunks:
        waiting.append(as_rgb(chunk, value_range))
        if sum(map(len, waiting)) >= size:
            images = np.concatenate(waiting)
            whole = len(images) - len(images) % size
            yield from ((images[i : i + size], size) for i in range(0, whole, size))
            waiting = [images[whole:]]
    rest = np.concatenate(waiting) if waiting else np.empty(0)
    if len(rest):
        yield np.concatenate([rest, rest[-1:].repeat(size - len(rest), axis=0)]), len(rest)


def stream(
    inception: Callable[[np.ndarray], Features],
    images: np.ndarray | Iterable[np.ndarray],
    *,
    batch_size: int = 64,
    value_range: tuple[float, float] | None = None,
) -> Iterator[Part]:
    """Yield the features of every image in order, batch by batch.

    The devices compute the next batch while the host uses one. The arguments are those of `extract`.
    """
    if isinstance(images, np.ndarray):
        images = np.split(images, range(batch_size, len(images), batch_size))
    devices = jax.local_device_count()
    batches = _batches(images, -(-batch_size // devices) * devices, value_range)
    for (_, real), found in one_ahead(lambda batch: inception(batch[0]), batches):
        pool, logits, spatial = (np.asarray(values)[:real] for values in found)
        yield pool, logits, spatial


def extract(
    inception: Callable[[np.ndarray], Features],
    images: np.ndarray | Iterable[np.ndarray],
    total: int,
    *,
    batch_size: int = 64,
    value_range: tuple[float, float] | None = None,
    keep: np.ndarray | None = None,
    desc: str = "Inception",
) -> Extracted:
    """The features of every image; of images that are not kept only the moments' sums stay in memory.

    Args:
      inception: an `InceptionV3`.
      images: images [n, h, w, c], or an iterable of such chunks of any length; see `as_rgb`.
      total: how many images there are.
      batch_size: how many go through the network at once, rounded up to a multiple of the local devices.
      value_range: what is black and what is white in them, (0, 1) or (-1, 1); None for uint8, or floats in 0..255.
      keep: the places of the images whose pool features and logits are kept, ascending; None keeps all.
      desc: what the progress bar says.

    Raises:
      ValueError: the arrays are no images, or they are not as many as `total`.
    """

    def parts() -> Iterator[Part]:
        seen = 0  # which the bar does not count where TQDM_DISABLE switches it off
        with tqdm(total=total, unit="image", desc=desc, dynamic_ncols=True) as progress:
            for found in stream(inception, images, batch_size=batch_size, value_range=value_range):
                seen += len(found[0])
                if seen > total:
                    break
                progress.update(len(found[0]))
                yield found
        if seen != total:
            raise ValueError(f"there are {'more' if seen > total else 'fewer'} images than the {total} announced")

    return gather(parts(), keep)


def gather(parts: Iterable[Part], keep: np.ndarray | None = None) -> Extracted:
    """The moments of all vectors, one part at a time; pool features and logits of all images, or of those at `keep`."""
    pool_moments, spatial_moments = Accumulator(), Accumulator()
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for pool, logits, spatial in parts:
        seen = pool_moments.count
        here = slice(None) if keep is None else np.isin(np.arange(seen, seen + len(pool)), keep)
        kept.append((pool[here], logits[here]))
        pool_moments.update(pool)
        spatial_moments.update(spatial)
    pool, logits = (np.concatenate(values) for values in zip(*kept, strict=True))
    return Extracted(pool, logits, pool_moments.moments(), spatial_moments.moments())


def fill(
    rounds: Rounds, inception: InceptionV3, images: Callable[[int], np.ndarray], batch_size: int, what: str
) -> Rounds:
    """Fill rounds with the features of `images(i)`, uint8 [b, h, w, c]; the network takes `batch_size` of them at once.

    A round holds a `Part` under the names of `Features`, which is 20 kB an image.
    """

    def finish(parts: Iterator[Part], _: range) -> dict[str, np.ndarray]:
        found = zip(*parts, strict=True)
        return {name: np.concatenate(arrays) for name, arrays in zip(Features._fields, found, strict=True)}

    return rounds.fill(what, lambda i: stream(inception, images(i), batch_size=batch_size), finish)


def of_samples(experiment: Experiment, drawn: Rounds, inception: InceptionV3) -> Rounds:
    """The features of each round of samples, in rounds within theirs, which they are set aside with."""
    name = f"inception_{inception.resize}_{inception.sha256[:8]}"
    about = {"inception_sha256": inception.sha256, "resize": inception.resize}
    rounds = Rounds(drawn.folder / name, about, drawn.total, drawn.size)
    return fill(
        rounds,
        inception,
        lambda i: np.asarray(experiment.codec.stretch(drawn.read(i)["samples"])),
        experiment.config.eval.inception_batch_size,
        "Inception",
    )


def extracted(rounds: Rounds, keep: np.ndarray | None = None) -> Extracted:
    """The moments of all rounds, one at a time in memory; vectors of all images, or of those at `keep`, ascending."""
    return gather(((found["pool"], found["logits"], found["spatial"]) for found in rounds), keep)
