"""The random numbers of a training batch: each example's own, whatever the number of devices and micro-batches."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from conditions import only_present
from conditions.present import PRESENT

AXIS = "devices"
PLACE = "place"
"""The name in a batch of the examples' places in the global batch [b], of which a device has a part at a time."""


class Draws(NamedTuple):
    """The keys of a part of a global batch: every example has one of its own for each thing that is drawn of it.

    Attributes:
      size: the number of examples of the global batch.
      place: the examples' places in it, [b].
      flip, dequantize, time, noise, dropout, augment: the keys of what they are named after, [b] each.
      drop, condition: the keys of whether the network is told nothing, and of what is random in what it is told.
      end: the key of where a jump ends.
      second: the key of the noise of a second pass over the same examples.
      batch: the key of what a batch has one of, different from every example's.
      present: which points of each example there are, [b, n]; the others have no noise. None: all are there.
    """

    size: int
    place: Int[Array, " b"]
    flip: Key[Array, " b"]
    dequantize: Key[Array, " b"]
    time: Key[Array, " b"]
    noise: Key[Array, " b"]
    dropout: Key[Array, " b"]
    augment: Key[Array, " b"]
    drop: Key[Array, " b"]
    condition: Key[Array, " b"]
    end: Key[Array, " b"]
    second: Key[Array, " b"]
    batch: Key[Array, ""]
    present: Bool[Array, "b n"] | None = None

    @classmethod
    def of(cls, key: Key[Array, ""], place: Int[Array, " b"], size: int) -> "Draws":
        """Return those of the examples at these places of a batch of `size`; example j has ``fold_in(key, j)``.

        That is split into five, which are what `fold_in` makes of 0 to 4; later names go on from there.
        """
        each = jax.vmap(jax.random.fold_in, (None, 0))(key, place)
        flip, dequantize, time, noise, dropout = jnp.unstack(jax.vmap(lambda k: jax.random.split(k, 5))(each), axis=1)
        later = (jax.vmap(jax.random.fold_in, (0, None))(each, number) for number in (5, 6, 7, 8, 9))
        augment, drop, condition, end, second = later
        batch = jax.random.fold_in(key, 2**31 - 1)
        return cls(size, place, flip, dequantize, time, noise, dropout, augment, drop, condition, end, second, batch)

    def again(self) -> "Draws":
        """Return those of a second pass over the same examples: all are the same but for the noise."""
        return self._replace(noise=self.second)

    def whole(self, rows: Any) -> Any:
        """Return the rows [b, ...] of all devices together, [size, ...], that of the example at place j as number j.

        A device that has the whole batch has them already. Where the devices of a pmap share it they are gathered, and
        the gradient of what is made of them goes back to the device that each came from. Micro-batches, of which a
        device sees one at a time, cannot be put together.
        """
        gather = partial(jax.lax.all_gather, axis_name=AXIS, tiled=True)
        return rows if len(self.place) == self.size else jax.tree.map(gather, rows)

    def eps(self, x0: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """Return standard normal noise in the shape and type of x0, 0 at absent points."""
        eps = jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:], x0.dtype))(self.noise)
        return only_present(eps, {PRESENT: self.present})


def with_places(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return this process's part of global batches, arrays [steps, b, ...], with the places of its examples in them."""
    steps, b = next(iter(batch.values())).shape[:2]
    place = jax.process_index() * b + np.arange(b, dtype=np.int32)
    return {**batch, PLACE: np.broadcast_to(place, (steps, b))}
