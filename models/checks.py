"""Checks made while a network is built or traced, before anything is compiled."""

import difflib
from collections.abc import Iterable

from jaxtyping import Array


def check_known(what: str, received: str, known: Iterable[str]) -> None:
    """Raise ValueError with the known names, the nearest first, unless `received` is one of them."""
    known = list(known)
    if received not in known:
        near = difflib.get_close_matches(str(received), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown {what} {received!r}{hint}; known: {', '.join(sorted(known))}")


def check_dropout(rate: float) -> None:
    """Raise ValueError unless 0 <= rate < 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout={rate} is the share of features dropped: it must be at least 0 and below 1")


def check_call(x: Array, c_noise: Array, condition: object, keys: Array | None, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the arguments fit a network whose examples have `shape` and no condition."""
    if condition is not None:
        raise ValueError("this network takes no condition: leave condition=None or choose a conditional network")
    if x.shape[1:] != shape:
        raise ValueError(f"this network was built for examples of shape {shape}, received {x.shape[1:]}")
    if c_noise.shape != x.shape[:1]:
        raise ValueError(f"c_noise holds one value an example, shape {x.shape[:1]}; received {c_noise.shape}")
    if keys is not None and keys.shape != x.shape[:1]:
        raise ValueError(
            f"keys holds one key an example, shape {x.shape[:1]}; received {keys.shape}: "
            "use jax.random.split(jax.random.key(seed), batch_size)"
        )
