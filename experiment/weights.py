"""The weights of a trained run are read here, and checked against the network that they fill."""

from typing import Any

import jax
from ml_collections import ConfigDict

from checkpoints.store import Store
from experiment.experiment import Experiment
from experiment.sampling import GUIDE
from experiment.workdir import Workdir
from models.functional import Network


def load(store: Store, network: Network, *, ema: bool, step: int | None) -> tuple[int, dict[str, Any]]:
    """(step, variables) of the checkpoint of that step, or of the newest sound one where it is None or below 0.

    The weights are the averaged ones, or with `ema` False the raw ones.

    Raises:
      CheckpointMismatch: the checkpoint is of another architecture.
      FileNotFoundError: there is no checkpoint, or none of that step.
    """
    abstract, which = network.abstract(), "ema" if ema else "params"
    template = {which: abstract["params"], "fixed": abstract["fixed"]}
    found = store.restore(template, None if step is None or step < 0 else step, partial=True)
    if found is None:
        raise FileNotFoundError(f"no checkpoint in {store.directory}; train first, with --mode=train")
    step, tree, _ = found
    return step, jax.device_put({"params": tree[which], "fixed": tree["fixed"]})


def load_run(workdir: Workdir, network: Network, config: ConfigDict) -> tuple[int, dict[str, Any]]:
    """What `load` gives of the checkpoint and the kind of weights that ``config.eval`` names (`checkpoint`, `ema`)."""
    with workdir.store(read_only=True) as store:
        return load(store, network, ema=config.eval.ema, step=config.eval.checkpoint)


def load_guided(workdir: Workdir, experiment: Experiment) -> tuple[int, dict[str, Any]]:
    """What `load_run` gives, and the weights of ``sampling.guide`` with it, where there is one."""
    step, variables = load_run(workdir, experiment.network, experiment.config)
    return step, variables | load_guide(experiment)


def load_guide(experiment: Experiment) -> dict[str, Any]:
    """The averaged weights of ``sampling.guide``, as collections of their own; nothing where there is none."""
    if experiment.guide is None:
        return {}
    settings = experiment.settings
    with Workdir(settings.guide).store(read_only=True) as store:
        _, weights = load(store, experiment.guide.network, ema=True, step=settings.guide_checkpoint)
    return {GUIDE + name: values for name, values in weights.items()}
