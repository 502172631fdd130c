"""How large a page becomes: by one rule for all data it has fewer places and states where it would be larger."""

from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

MEGABYTE = 1_000_000
BASE64 = 4 / 3
"""How many characters of the page hold one byte of an array."""
FEWER = (101, 51, 21, 11, 5, 3)
"""How many places there may be where a page is to be smaller; 0, 50 and 100 % are among each."""


class Fitting(NamedTuple):
    """What a page of its size has room for.

    Attributes:
      percents: the places of the slider, from 0 to 100.
      states: at most so many states of each sampler.
    """

    percents: np.ndarray
    states: int


def fitting(asked: ConfigDict, *, place: int, state: int) -> Fitting:
    """So many places and states as are asked for, or fewer where the page would exceed ``visualize.megabytes``.

    Half of the page is for either of them. There are three places and two states at least, whatever their size.

    Args:
      asked: the section visualize of a config, whose `places` is an odd number, so that 50 is among them.
      place: the bytes that each place of the slider adds, by all schedules and before they are compressed.
      state: those that one more state of every sampler adds.
    """
    allowed = asked.megabytes * MEGABYTE / BASE64 / 2
    choices = (asked.places, *(fewer for fewer in FEWER if fewer < asked.places))
    places = next((n for n in choices if n * place <= allowed), choices[-1])
    return Fitting(np.linspace(0.0, 100.0, places), max(2, min(asked.states, int(allowed // state))))
