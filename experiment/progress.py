"""What a person is told while something lasts that shows no progress of its own: that it goes on, and since when."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

import jax
from tqdm import tqdm

FIRST = 4.0
AGAIN = 30.0


@contextlib.contextmanager
def waiting(what: str, *, first: float = FIRST, again: float = AGAIN) -> Iterator[None]:
    """Say on standard error that `what` is going on, where the block lasts longer than `first` seconds.

    A line follows every `again` seconds with the time that has passed, and one at the end with the whole time. Nothing
    is said of a short block, nor by any process but the first.
    """
    if jax.process_index() != 0:
        yield
        return
    done, began = threading.Event(), time.perf_counter()

    def say(text: str) -> None:
        tqdm.write(f"{what}{text}", file=sys.stderr)

    def watch() -> None:
        if done.wait(first):
            return
        say(" ...")
        while not done.wait(again):
            say(f": {time.perf_counter() - began:.0f} s so far")

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        lasted = time.perf_counter() - began
        if lasted >= first:
            say(f" took {lasted:.1f} s")
