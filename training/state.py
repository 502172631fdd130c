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
    and `target` the weights of a loss's target network. `averages` are those of ``training.ema_stds``. They are None
    where there are none, and then not in the checkpoint.
    The variables of a `teacher` never are: they are read from its own run.
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
        leaves = jax.tree.leaves_with_path(self.opt_state)
        tree = {**self._asdict(), "opt_state": {jax.tree_util.keystr(path): leaf for path, leaf in leaves}}
        del tree["loss"], tree["teacher"]
        if self.target is None:
            del tree["target"]
        averages = tree.pop("averages")
        if averages is not None:
            tree["averages"] = averages._asdict()
        return tree if self.loss is None else {**tree, LOSS: self.loss._asdict()}

    def from_tree(self, tree: dict[str, Any]) -> "TrainState":
        """Return the state held by a checkpoint's tree, in the structure of this one, without a teacher."""
        paths, structure = jax.tree_util.tree_flatten_with_path(self.opt_state)
        leaves = [tree["opt_state"][jax.tree_util.keystr(path)] for path, _ in paths]
        own = {name: value for name, value in tree.items() if name != LOSS}
        loss = type(self.loss)(**tree[LOSS]) if LOSS in tree else None
        own["opt_state"] = jax.tree.unflatten(structure, leaves)
        if "averages" in own:
            own["averages"] = PowerAverages(**own["averages"])
        return TrainState(**own, loss=loss)
