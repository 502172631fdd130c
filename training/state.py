"""The state is everything that a run is made of at one step; it has a form on disk."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from experiment.power_averages import PowerAverages

Tensors = dict[str, Array]
LOSS = "history"
"""The name of the loss's state in a checkpoint, which is that of the first loss that had one."""


class TrainState(NamedTuple):
    """It has a step counter, weights, their moving average, fixed numbers (Fourier frequencies), the optimiser's state.

    `loss` is the state of a loss that learns from what it sees (`training.losses.base.Loss`), a NamedTuple of arrays,
    of dictionaries of arrays, and of optimisers' states. `target` are the weights of a loss's target network,
    `averages` those of ``training.ema_stds``. They are None where there are none, and then not in the checkpoint.
    The variables of a `teacher` and the weights of the `perceptual` distance never are: they are read from their files.
    """

    step: Int[Array, ""]
    params: Tensors
    ema: Tensors
    fixed: Tensors
    opt_state: Any
    loss: Any = None
    target: Tensors | None = None
    teacher: dict[str, Tensors] | None = None
    averages: PowerAverages | None = None
    perceptual: Tensors | None = None

    @classmethod
    def create(
        cls,
        variables: dict[str, Tensors],
        optimizer: optax.GradientTransformation,
        loss: Any = None,
        *,
        target: bool = False,
    ) -> "TrainState":
        """Return the state before the first step; averages start at the weights, in buffers of their own."""
        params = variables["params"]
        ema, other = jax.tree.map(jnp.copy, params), jax.tree.map(jnp.copy, params) if target else None
        return cls(jnp.zeros((), jnp.int32), params, ema, variables["fixed"], optimizer.init(params), loss, other)

    def to_tree(self) -> dict[str, Any]:
        """Return nested dicts of arrays for a checkpoint, the optimiser's leaves by their path."""
        tree = {**self._asdict(), "opt_state": _by_path(self.opt_state)}
        del tree["loss"], tree["teacher"], tree["perceptual"]
        if self.target is None:
            del tree["target"]
        averages = tree.pop("averages")
        if averages is not None:
            tree["averages"] = averages._asdict()
        return tree if self.loss is None else {**tree, LOSS: {n: _by_path(v) for n, v in self.loss._asdict().items()}}

    def from_tree(self, tree: dict[str, Any]) -> "TrainState":
        """Return the state held by a checkpoint's tree, in the structure of this one, without what has own files."""
        own = {name: value for name, value in tree.items() if name != LOSS}
        own["opt_state"] = _of_paths(self.opt_state, tree["opt_state"])
        if "averages" in own:
            own["averages"] = PowerAverages(**own["averages"])
        loss = None
        if LOSS in tree:
            loss = type(self.loss)(**{n: _of_paths(getattr(self.loss, n), v) for n, v in tree[LOSS].items()})
        return TrainState(**own, loss=loss)


def _by_path(value: Any) -> Any:
    """Return arrays and dictionaries as they are, and the leaves of an optimiser's state by their paths."""
    if not isinstance(value, tuple):
        return value
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(value)}


def _of_paths(like: Any, saved: Any) -> Any:
    """Return what `_by_path` was given, in the structure of `like`."""
    if not isinstance(like, tuple):
        return saved
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree.unflatten(structure, [saved[jax.tree_util.keystr(path)] for path, _ in paths])
