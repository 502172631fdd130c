"""Batches of a dataset: shuffled for training, in order for evaluation; each a pure function of its number.

A stream that starts at step k therefore continues an interrupted one exactly, at once and without a replay,
and the batch of P processes is the batch of one process cut into P equal slices.
"""

import functools
import sys
from collections.abc import Callable, Iterator

import grain
import numpy as np

from data.source import Records, take

Batch = dict[str, np.ndarray]


def batches(
    records: Records,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
    prefetch: int = 8,
) -> Iterator[Batch]:
    """Endless training batches; every epoch visits each example once, in an order of its own.

    `batch_size` is that of all processes together; each of them yields [batch_size / process_count, ...].
    Batches run on over the end of an epoch. The first batch is number `start_step`.
    """
    local = _local_slice(records, batch_size, process_index, process_count)
    length = len(records)

    @functools.lru_cache(maxsize=2)  # a batch touches at most two epochs, unless it is larger than the dataset
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(length)

    def batch(step: int) -> Batch:
        epochs, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size)[local], length)
        order = [permutation(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        return take(records, np.concatenate(order))

    return _prefetched(batch, start_step, sys.maxsize // batch_size, num_threads, prefetch)


def eval_batches(
    records: Records, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """The whole set once, in order, in batches of one shape: copies of the last example fill up the last one.

    Adds "index" [b], the example's place in the set, and "counted" [b], False for the copies.
    """
    local = _local_slice(records, batch_size, process_index, process_count)
    length = len(records)

    def batch(step: int) -> Batch:
        places = np.arange(step * batch_size, (step + 1) * batch_size)[local]
        index = np.minimum(places, length - 1)
        return {**take(records, index), "index": index, "counted": places < length}

    return _prefetched(batch, 0, -(-length // batch_size))


def _local_slice(records: Records, batch_size: int, process_index: int, process_count: int) -> slice:
    """The part of a global batch that is this process's own."""
    if len(records) == 0:
        raise ValueError("the dataset has no examples")
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(f"batch_size must be a positive multiple of the {process_count} processes, got {batch_size}")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index must be in [0, {process_count}), got {process_index}")
    local = batch_size // process_count
    return slice(process_index * local, (process_index + 1) * local)


def _prefetched(batch: Callable, start: int, stop: int, num_threads: int = 4, prefetch: int = 8) -> Iterator[Batch]:
    """batch(start), ..., batch(stop - 1), computed ahead by threads."""
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.range(start, stop).map(batch).to_iter_dataset(options))
