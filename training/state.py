"""Everything a run is made of at one step, and its form on disk."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from training.importance import LossHistory

Tensors = dict[str, Array]


class TrainState(NamedTuple):
    """Step counter, weights, their moving average, fixed numbers (Fourier frequencies) and the optimiser's state.

    `history`: the losses by level where noise levels are drawn by them, else None, and then not in the checkpoint.
    """

    step: Int[Array, ""]
    params: Tensors
    ema: Tensors
    fixed: Tensors
    opt_state: Any
    history: LossHistory | None = None

    @classmethod
    def create(
        cls,
        variables: dict[str, Tensors],
        optimizer: optax.GradientTransformation,
        history: LossHistory | None = None,
    ) -> "TrainState":
        """The state before the first step; the average starts at the weights, in buffers of its own."""
        params = variables["params"]
        ema = jax.tree.map(jnp.copy, params)
        return cls(jnp.zeros((), jnp.int32), params, ema, variables["fixed"], optimizer.init(params), history)

    def variables(self, *, ema: bool) -> dict[str, Tensors]:
        """What the network is applied with: the averaged or the raw weights, and the fixed numbers."""
        return {"params": self.ema if ema else self.params, "fixed": self.fixed}

    def to_tree(self) -> dict[str, Any]:
        """Nested dicts of arrays for a checkpoint; the optimiser's leaves by their path."""
        leaves = jax.tree.leaves_with_path(self.opt_state)
        tree = {**self._asdict(), "opt_state": {jax.tree_util.keystr(path): leaf for path, leaf in leaves}}
        del tree["history"]
        return tree if self.history is None else {**tree, "history": self.history._asdict()}

    def from_tree(self, tree: dict[str, Any]) -> "TrainState":
        """The state held by a checkpoint's tree, in the structure of this one."""
        paths, structure = jax.tree_util.tree_flatten_with_path(self.opt_state)
        leaves = [tree["opt_state"][jax.tree_util.keystr(path)] for path, _ in paths]
        history = LossHistory(**tree["history"]) if "history" in tree else None
        return TrainState(**{**tree, "opt_state": jax.tree.unflatten(structure, leaves), "history": history})
