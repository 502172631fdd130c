"""How a batch lies on the local devices of a process, and who works when."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiment.processes import one_at_a_time

Round = TypeVar("Round")
Begun = TypeVar("Begun")


def on_devices(x: jax.Array | np.ndarray) -> jax.Array:
    """A batch that is spread over the local devices where they divide it, and lies on one elsewhere."""
    mesh = _mesh(len(x))
    return jnp.asarray(x) if mesh is None else jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))


def on_each(variables: Any, rows: int) -> Any:
    """What all rows are computed with, copied once to each device over which batches of so many rows are spread."""
    mesh = _mesh(rows)
    return variables if mesh is None else jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))


def one_ahead(dispatch: Callable[[Round], Begun], rounds: Iterable[Round]) -> Iterator[tuple[Round, Begun]]:
    """Yield ``(i, dispatch(i))`` of every round in order, each once the next has been dispatched.

    What is yielded may be fetched and written while the devices work on the next; never are more than two rounds in
    their memory. Where one program has to end before the next begins, a round is yielded before the next is dispatched.
    """
    waiting: list[tuple[Round, Begun]] = []
    for i in rounds:
        waiting.append((i, dispatch(i)))
        if one_at_a_time() or len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def each_on_its_own(function: Callable, shared: Any, *batches: Any) -> Any:
    """``function(shared, *batches)``, whose arrays are [b, ...], by every local device with its own rows; within jit.

    It is for loops that last as long as their rows need: no device waits for another, and nothing is exchanged. Where
    the devices do not divide the rows, the function gets them all.
    """
    mesh = _mesh(len(jax.tree.leaves(batches)[0]))
    if mesh is None:
        return function(shared, *batches)
    rows = PartitionSpec("batch")
    specs = (PartitionSpec(), *[rows] * len(batches))
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=rows, check_vma=False)(shared, *batches)


def _mesh(rows: int) -> Mesh | None:
    """The mesh of the local devices, where they are several and divide the rows."""
    devices = jax.local_devices()
    return None if len(devices) == 1 or rows % len(devices) else Mesh(np.array(devices), ("batch",))
