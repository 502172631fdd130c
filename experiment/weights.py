"""The weights of a trained run, checked against the network they are to fill."""

from typing import Any

import jax
from ml_collections import ConfigDict

from checkpoints.store import Store
from experiment.workdir import Workdir
from models.functional import Network


def load(store: Store, network: Network, *, ema: bool, step: int | None) -> tuple[int, dict[str, Any]]:
    """(step, variables) of the newest sound checkpoint (step None or below 0), or of `step`; averaged or raw weights.

    Raises:
      CheckpointMismatch: a checkpoint of another architecture.
      FileNotFoundError: no checkpoint, or none of that step.
    """
    abstract, which = network.abstract(), "ema" if ema else "params"
    template = {which: abstract["params"], "fixed": abstract["fixed"]}
    found = store.restore(template, None if step is None or step < 0 else step, partial=True)
    if found is None:
        raise FileNotFoundError(f"no checkpoint in {store.directory}; train first, with --mode=train")
    step, tree, _ = found
    return step, jax.device_put({"params": tree[which], "fixed": tree["fixed"]})


def load_run(workdir: Workdir, network: Network, config: ConfigDict) -> tuple[int, dict[str, Any]]:
    """What `load` gives of a run for ``config.eval``: its `checkpoint`, averaged or raw by `ema`."""
    with workdir.store(read_only=True) as store:
        return load(store, network, ema=config.eval.ema, step=config.eval.checkpoint)
