"""Which levels of a discrete chain a few-step sampler visits: every spacing in use, by name and count.

For 50 of 1000: 'trailing' 19, 39, ..., 999; 'leading' 0, 20, ..., 980 (guided-diffusion's "ddim50", diffusers);
'leading_1' 1, 21, ..., 981 (diffusers with steps_offset 1); 'ldm' the same, ending at level 0 instead of at data, and
'ldm_quad' with equal steps in sqrt(index) (Rombach et al. 2022's code); 'linspace' 0, 20.39, ..., 999 rounded
(diffusers); 'respaced' the same with guided-diffusion's accumulated rounding. guided-diffusion's own strings are
names too: "50", "ddim50", "20,15,10,5" (so many of each quarter) and GLIDE's "fast27".
"""

import re

import numpy as np

NAMES = ("trailing", "leading", "leading_1", "linspace", "respaced", "ldm", "ldm_quad")
KNOWN = f"{', '.join(NAMES)}, fast27, ddimN, N or N,N,..."
FAST27 = "10,10,3,2,2"


def known(name: str) -> bool:
    """Whether `create` knows it."""
    return name in NAMES or name == "fast27" or re.fullmatch(r"ddim[1-9]\d*|[1-9]\d*(,[1-9]\d*)*", name) is not None


def count_of(name: str) -> int:
    """How many levels a string of guided-diffusion asks for; 0 for a name that goes with any count."""
    if name == "fast27":
        return 27
    return sum(int(part) for part in name.removeprefix("ddim").split(",")) if known(name) and name not in NAMES else 0


def create(name: str, count: int, levels: int) -> np.ndarray:
    """The levels visited, rising, int [count]: 0 is the cleanest of `levels`.

    'ldm' and 'ldm_quad' begin with level 0, where they end, so that they evaluate one level fewer.

    Raises:
      ValueError: an unknown name, a count the chain has not, or one that contradicts the name's own.
    """
    if not known(name):
        raise ValueError(f"spacing is {name!r}; known are {KNOWN}")
    own = count_of(name)
    if own and own != count:
        raise ValueError(f"spacing {name!r} has {own} levels, and the steps ask for {count}; make them agree")
    if not 0 < count <= levels:
        raise ValueError(f"spacing {name!r}: {count} levels of a chain of {levels}; allowed are 1 to {levels}")
    if name == "trailing":
        return np.round(levels - np.arange(count) * levels / count)[::-1].astype(int) - 1
    if name == "linspace":
        return np.round(np.linspace(0, levels - 1, count)).astype(int)
    if name == "leading_1" and count == levels:
        raise ValueError(f"spacing 'leading_1': {count} of {levels} levels end beyond the noisiest; use leading")
    if name in ("leading", "leading_1"):
        return np.arange(count) * (levels // count) + (name == "leading_1")
    if name == "ldm":
        return np.append(0, np.arange(count - 1) * (levels // max(count - 1, 1)) + 1)
    if name == "ldm_quad":
        return np.append(0, (np.linspace(0, (0.8 * levels) ** 0.5, count - 1) ** 2).astype(int) + 1)
    if name.startswith("ddim"):
        strides = [stride for stride in range(1, levels) if len(range(0, levels, stride)) == count]
        if not strides:
            raise ValueError(f"spacing {name!r}: no whole stride gives so many of {levels} levels; use trailing")
        return np.arange(0, levels, strides[0])
    if name == "fast27":
        sections = _sections([int(part) for part in FAST27.split(",")], levels)
        return np.append(sections[:-1], levels - 3)
    return _sections([count] if name == "respaced" else [int(part) for part in name.split(",")], levels)


def _sections(counts: list[int], levels: int) -> np.ndarray:
    """The chain cut into equal sections, so many levels of each, from its first to its last."""
    size, extra = divmod(levels, len(counts))
    picked: list[int] = []
    first = 0
    for i, count in enumerate(counts):
        length = size + (i < extra)
        if not 0 < count <= length:
            raise ValueError(f"spacing: {count} levels of a section of {length}; allowed are 1 to {length}")
        stride = 1.0 if count == 1 else (length - 1) / (count - 1)
        place = 0.0  # accumulated as in the reference: a product would round some halves the other way
        for _ in range(count):
            picked.append(first + round(place))
            place += stride
        first += length
    return np.asarray(picked)
