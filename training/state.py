"""The state is everything that a run is made of at one step; it has a form on disk."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

Tensors = dict[str, Array]
LOSS = "history"
"""The name of the loss's state in a checkpoint, which is that of the first loss that had one."""


class TrainState(NamedTuple):
    """It has a step counter, weights, their moving average, fixed numbers (Fourier frequencies), the optimiser's state.

    `loss` is the state of a loss that learns from what it sees (`training.losses.base.Loss`), a NamedTuple of arrays.
    It is None for all others, and then not in the checkpoint.
    """

    step: Int[Array, ""]
    params: Tensors
    ema: Tensors
    fixed: Tensors
    opt_state: Any
    loss: Any = None

    @classmethod
    def create(
        cls, variables: dict[str, Tensors], optimizer: optax.GradientTransformation, loss: Any = None
    ) -> "TrainState":
        """Return the state before the first step; the average starts at the weights, in buffers of its own."""
        params = variables["params"]
        ema = jax.tree.map(jnp.copy, params)
        return cls(jnp.zeros((), jnp.int32), params, ema, variables["fixed"], optimizer.init(params), loss)

    def to_tree(self) -> dict[str, Any]:
        """Return nested dicts of arrays for a checkpoint, the optimiser's leaves by their path."""
        leaves = jax.tree.leaves_with_path(self.opt_state)
        tree = {**self._asdict(), "opt_state": {jax.tree_util.keystr(path): leaf for path, leaf in leaves}}
        del tree["loss"]
        return tree if self.loss is None else {**tree, LOSS: self.loss._asdict()}

    def from_tree(self, tree: dict[str, Any]) -> "TrainState":
        """Return the state held by a checkpoint's tree, in the structure of this one."""
        paths, structure = jax.tree_util.tree_flatten_with_path(self.opt_state)
        leaves = [tree["opt_state"][jax.tree_util.keystr(path)] for path, _ in paths]
        own = {name: value for name, value in tree.items() if name != LOSS}
        loss = type(self.loss)(**tree[LOSS]) if LOSS in tree else None
        return TrainState(**{**own, "opt_state": jax.tree.unflatten(structure, leaves)}, loss=loss)
