"""What the importers of published files have in common: what they return, and how they say what does not fit."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = 3
"""How many names, or other things, of one kind stand in a message."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a published file holds, as this project's variables."""

    ema: dict[str, np.ndarray]  # names as in models.functional.Network.abstract()["params"]
    params: dict[str, np.ndarray]  # the raw weights; the averaged ones where the file has no others
    fixed: dict[str, np.ndarray]
    step: int  # 0 where the file does not say
    metadata: dict[str, Any]
    file: Path  # the one that held them
    raw_fixed: dict[str, np.ndarray] | None = None  # where they differ: JAX files average the Fourier frequencies too

    def variables(self, *, ema: bool) -> dict[str, dict[str, np.ndarray]]:
        """What the network is applied with: the averaged or the raw weights."""
        if ema:
            return {"params": self.ema, "fixed": self.fixed}
        return {"params": self.params, "fixed": self.fixed if self.raw_fixed is None else self.raw_fixed}


def listed(names: Iterable[str]) -> str:
    """Names for an error message: the first few of them, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def refuse_misfits(file: str, missing: Iterable[str], left_over: Iterable[str], shapes: Iterable[str]) -> None:
    """One ValueError that lists what a file and a network do not have in common; nothing where they agree.

    `missing`: the network's parameters that the file lacks; `left_over`: the file's that the network has no place for;
    `shapes`: descriptions of those of another shape.
    """
    parts = [
        f"{what} ({len(names)}): {listed(names)}"
        for what, names in (
            ("not in the file", list(missing)),
            ("left over in the file", list(left_over)),
            ("of another shape", list(shapes)),
        )
        if names
    ]
    if parts:
        raise ValueError(
            f"{file} does not hold the weights of this config's network; {'; '.join(parts)}; "
            "choose the config the file was trained with"
        )
