"""The weights of a trained run are read here, and checked against the network that they fill."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from checkpoints.store import Store
from data.fingerprint import of_arrays
from experiment import average_snapshots
from experiment.experiment import Experiment
from experiment.power_averages import PowerAverages
from experiment.sampling import GUIDE, UPSAMPLER
from experiment.workdir import Workdir
from models.functional import Network


def fingerprint(variables: dict[str, Any]) -> str:
    """SHA-256 of all weights, with their names, kinds and shapes."""
    arrays = {}
    for collection, named in variables.items():
        for name, value in named.items():
            array = np.ascontiguousarray(value)
            arrays[f"{collection}/{name} {array.dtype} {array.shape}"] = array.reshape(-1).view(np.uint8)
    return of_arrays(dict(sorted(arrays.items())))


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


def load_run(
    workdir: Workdir, network: Network, config: ConfigDict, step: int | None = None
) -> tuple[int, dict[str, Any]]:
    """What `load` gives of the checkpoint and the kind of weights that ``config.eval`` names.

    They are those of `checkpoint`, or of `step` where that is given, with `ema` the averaged ones, and with `ema_std`
    the average of that width (`average_snapshots.reconstruct`).

    Raises:
      CheckpointMismatch, FileNotFoundError: as `load`.
      Unreachable: the run has no average of this width.
    """
    chosen = config.eval
    with workdir.store(read_only=True) as store:
        step, variables = load(store, network, ema=chosen.ema, step=chosen.checkpoint if step is None else step)
        if chosen.ema_std:
            averages = _averages(store, network, step)
            params = average_snapshots.reconstruct(workdir, step, averages, chosen.ema_std)
            variables["params"] = jax.device_put(params)
    return step, variables


def kind(config: ConfigDict) -> str:
    """Which weights `load_run` gives, in words: "average", "raw", or "average of width 0.08"."""
    width = f" of width {config.eval.ema_std:g}" if config.eval.ema_std else ""
    return f"average{width}" if config.eval.ema else "raw"


def suffix(config: ConfigDict) -> str:
    """The end of the name of a folder that is of these weights: "", "_raw", or "_std_0.08"."""
    width = f"_std_{config.eval.ema_std:g}" if config.eval.ema_std else ""
    return width if config.eval.ema else "_raw"


def _averages(store: Store, network: Network, step: int) -> PowerAverages | None:
    """The power-function averages in a checkpoint; None where it has none."""
    metadata = store.metadata(step)
    stds = metadata.get("config", {}).get("training", {}).get("ema_stds")
    if not stds or "imported" in metadata:
        return None
    template = jax.eval_shape(lambda params: PowerAverages.create(params, stds), network.abstract()["params"])
    found = store.restore({"averages": template._asdict()}, step, partial=True)
    return found and PowerAverages(**found[1]["averages"])


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


def load_upsampler(experiment: Experiment) -> dict[str, Any]:
    """The averaged weights of ``sampling.upsampler`` and of all that serves it, as collections of their own.

    There is nothing where no run enlarges the samples.
    """
    upsampler, chosen = experiment.upsampler, experiment.config.sampling
    if upsampler is None:
        return {}
    with Workdir(chosen.upsampler).store(read_only=True) as store:
        _, weights = load(store, upsampler.network, ema=True, step=chosen.upsampler_checkpoint)
    return {UPSAMPLER + name: values for name, values in (weights | load_others(upsampler)).items()}


def load_others(experiment: Experiment) -> dict[str, Any]:
    """The weights that samples take besides the run's own: its guide's, and those of what enlarges them."""
    return load_guide(experiment) | load_upsampler(experiment)
