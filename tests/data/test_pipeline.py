import itertools
import time

import numpy as np
import pytest

from data.pipeline import batches, eval_batches
from data.source import Arrays


class OneByOne:
    """Records without a `take`; counts what is read."""

    def __init__(self, length: int):
        self.length, self.reads = length, 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.reads += 1
        return {"image": np.full((2, 2, 1), index % 256, np.uint8), "label": np.int32(index)}


def in_memory(length: int) -> Arrays:
    return Arrays({"image": np.zeros((length, 2), np.float32), "label": np.arange(length)})


def labels(stream, count: int) -> np.ndarray:
    return np.stack([batch["label"] for batch in itertools.islice(stream, count)])


@pytest.mark.parametrize("records", [OneByOne(10), in_memory(10)], ids=["one by one", "in memory"])
def test_every_epoch_visits_each_example_once_in_a_new_order(records):
    epochs = labels(batches(records, batch_size=4, seed=0), 25).reshape(10, 10)  # batches cross epochs
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10


def test_the_order_depends_on_the_seed_alone():
    a, again, other = (labels(batches(in_memory(50), batch_size=8, seed=s), 20) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, again)
    assert (a != other).mean() > 0.9
    threads = labels(batches(OneByOne(50), batch_size=8, seed=1, num_threads=7, prefetch=16), 20)
    np.testing.assert_array_equal(a, threads)


@pytest.mark.parametrize("step", [1, 6, 19])
def test_a_resumed_stream_continues_the_interrupted_one(step):
    whole = labels(batches(in_memory(50), batch_size=8, seed=3), 30)
    rest = labels(batches(in_memory(50), batch_size=8, seed=3, start_step=step), 30 - step)
    np.testing.assert_array_equal(whole[step:], rest)


def test_starting_late_replays_nothing():
    records = OneByOne(1000)
    start = time.perf_counter()
    next(batches(records, batch_size=4, seed=0, start_step=10**12, num_threads=1, prefetch=2))
    assert records.reads <= 4 * 4
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("count", [2, 4])
def test_processes_cut_one_global_batch_into_slices(count):
    whole = labels(batches(in_memory(50), batch_size=8, seed=3), 20)
    parts = [
        labels(batches(in_memory(50), batch_size=8, seed=3, process_index=i, process_count=count), 20)
        for i in range(count)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


def test_a_batch_may_be_larger_than_the_dataset():
    seen = labels(batches(in_memory(3), batch_size=9, seed=0), 2)
    assert np.bincount(seen.ravel()).tolist() == [6, 6, 6]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("length", [1, 7, 8, 11])
def test_evaluation_sees_everything_once_in_batches_of_one_shape(length, count):
    streams = [
        list(eval_batches(OneByOne(length), batch_size=4, process_index=i, process_count=count)) for i in range(count)
    ]
    assert {len(stream) for stream in streams} == {-(-length // 4)}
    assert all(batch["image"].shape == (4 // count, 2, 2, 1) for stream in streams for batch in stream)
    merged = {
        name: np.concatenate([part[name] for step in zip(*streams, strict=True) for part in step])
        for name in ("index", "counted", "label")
    }
    np.testing.assert_array_equal(merged["index"][merged["counted"]], np.arange(length))
    np.testing.assert_array_equal(merged["label"], merged["index"])
    assert set(merged["index"][~merged["counted"]]) <= {length - 1}


def test_an_error_of_a_record_reaches_the_consumer():
    class Broken(OneByOne):
        def __getitem__(self, index):
            raise ValueError("cannot read cat.png")

    with pytest.raises(ValueError, match=r"cat\.png"):
        next(batches(Broken(10), batch_size=2, seed=0))


def test_misuse_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="multiple of the 3 processes, got 8"):
        batches(in_memory(9), batch_size=8, seed=0, process_count=3)
    with pytest.raises(ValueError, match=r"process_index must be in \[0, 2\), got 2"):
        eval_batches(in_memory(9), batch_size=8, process_index=2, process_count=2)
    with pytest.raises(ValueError, match="no examples"):
        batches(in_memory(0), batch_size=8, seed=0)
