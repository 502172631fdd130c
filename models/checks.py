"""Checks made while a network is built or traced, before anything is compiled."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

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


def check_centered(centered: bool) -> None:
    """Raise ValueError unless the data are in [-1, 1], for networks whose input a preconditioning has scaled."""
    if not centered:
        raise ValueError("this network takes data in [-1, 1], scaled by a preconditioning: set data.centered=True")


def check_call(
    x: Array,
    c_noise: Array,
    condition: Mapping[str, Any] | None,
    keys: Array | None,
    shape: tuple[int, ...],
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Raise ValueError unless the arguments fit a network whose examples have `shape`.

    `sizes`: features of each condition the network takes, by name; any of them may be left out of `condition`.
    """
    if condition is not None and not sizes:
        raise ValueError("this network takes no condition: leave condition=None or choose a conditional network")
    for name, value in (condition or {}).items():
        check_known("condition", name, sizes)
        if value.shape != (x.shape[0], sizes[name]):
            raise ValueError(
                f"condition {name!r} holds {sizes[name]} numbers an example, shape {(x.shape[0], sizes[name])}; "
                f"received {value.shape}"
            )
    if x.shape[1:] != shape:
        raise ValueError(f"this network was built for examples of shape {shape}, received {x.shape[1:]}")
    if c_noise.shape != x.shape[:1]:
        raise ValueError(f"c_noise holds one value an example, shape {x.shape[:1]}; received {c_noise.shape}")
    if keys is not None and keys.shape != x.shape[:1]:
        raise ValueError(
            f"keys holds one key an example, shape {x.shape[:1]}; received {keys.shape}: "
            "use jax.random.split(jax.random.key(seed), batch_size)"
        )
