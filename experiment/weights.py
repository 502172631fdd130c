"""The weights of a trained run, checked against the network they are to fill."""

from typing import Any

import jax

from checkpoints.store import Store
from models.functional import Network


def load(store: Store, network: Network, *, ema: bool, step: int | None) -> tuple[int, dict[str, Any]]:
    """(step, variables) of the newest sound checkpoint, or of `step`; averaged or raw weights.

    Raises:
      CheckpointMismatch: a checkpoint of another architecture.
      FileNotFoundError: no checkpoint, or none of that step.
    """
    abstract = network.abstract()
    found = store.restore(
        {"ema" if ema else "params": abstract["params"], "fixed": abstract["fixed"]}, step, partial=True
    )
    if found is None:
        raise FileNotFoundError(f"no checkpoint in {store.directory}; train first, with --mode=train")
    step, tree, _ = found
    return step, jax.device_put({"params": tree["ema" if ema else "params"], "fixed": tree["fixed"]})
