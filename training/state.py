"""Everything a run is made of at one step, and its form on disk."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

Tensors = dict[str, Array]


class TrainState(NamedTuple):
    """Step counter, weights, their moving average, fixed numbers (Fourier frequencies) and the optimiser's state."""

    step: Int[Array, ""]
    params: Tensors
    ema: Tensors
    fixed: Tensors
    opt_state: Any

    @classmethod
    def create(cls, variables: dict[str, Tensors], optimizer: optax.GradientTransformation) -> "TrainState":
        """The state before the first step; the average starts at the weights, in buffers of its own."""
        params = variables["params"]
        ema = jax.tree.map(jnp.copy, params)
        return cls(jnp.zeros((), jnp.int32), params, ema, variables["fixed"], optimizer.init(params))

    def variables(self, *, ema: bool) -> dict[str, Tensors]:
        """What the network is applied with: the averaged or the raw weights, and the fixed numbers."""
        return {"params": self.ema if ema else self.params, "fixed": self.fixed}

    def to_tree(self) -> dict[str, Any]:
        """Nested dicts of arrays for a checkpoint; the optimiser's leaves by their path."""
        leaves = jax.tree.leaves_with_path(self.opt_state)
        return {**self._asdict(), "opt_state": {jax.tree_util.keystr(path): leaf for path, leaf in leaves}}

    def from_tree(self, tree: dict[str, Any]) -> "TrainState":
        """The state held by a checkpoint's tree, in the structure of this one."""
        paths, structure = jax.tree_util.tree_flatten_with_path(self.opt_state)
        leaves = [tree["opt_state"][jax.tree_util.keystr(path)] for path, _ in paths]
        return TrainState(**{**tree, "opt_state": jax.tree.unflatten(structure, leaves)})
