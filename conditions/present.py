"""Which points of a set there are, of sets that have fewer points than an example has places for.

In stored data the coordinates of an absent point are NaN, which no point has, and in x they are 0 at every time: an
absent point has no noise, and whatever a model says of it is 0. So it adds nothing to a loss, to a density or to the
path of a solver, and no number of one reaches a point that there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, Shaped

from conditions.base import Condition, Conditioner

PRESENT = "present"
"""The name of the field of a record, and of the entry of a condition."""


@dataclass(frozen=True)
class Present(Conditioner):
    """The field "present" [b, n] of a record, True for each point that there is, as the entry of that name.

    It is a part of the set itself, so a network is told of it even where it is told nothing else.
    """

    fields = (PRESENT,)

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The field itself."""
        return {PRESENT: jnp.asarray(batch[PRESENT], bool)}

    def none(self, condition: Condition) -> Condition:
        """The same."""
        return {PRESENT: condition[PRESENT]}


def only_present(x: Shaped[Array, "b *d"], told: Mapping[str, Any] | None) -> Shaped[Array, "b *d"]:
    """The x of sets [b, n, d] with 0 in place of absent points.

    Args:
      x: points of any kind, data or noise or predictions.
      told: a condition, or fields of records; where it has no entry "present" all points are there.
    """
    present = (told or {}).get(PRESENT)
    return x if present is None else jnp.where(jnp.asarray(present, bool)[..., None], x, 0.0)


def marked(data: Shaped[np.ndarray, "b *d"], told: Mapping[str, Any]) -> Shaped[np.ndarray, "b *d"]:
    """Stored data, of sets [b, n, d], whose absent points are NaN; at the host.

    Which are absent says the field "present" of what the sets were drawn of; where it is missing none is.
    """
    present = told.get(PRESENT)
    return data if present is None else np.where(np.asarray(present, bool)[..., None], data, np.nan).astype(data.dtype)


def share(present: Bool[Array, "b n"]) -> Float[Array, " b"]:
    """The share of the places of each example at which there is a point."""
    return jnp.mean(present, axis=1, dtype=jnp.result_type(float))
