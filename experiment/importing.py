"""A published checkpoint becomes a run of ours: config and weights in a working folder."""

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from checkpoints import importing
from checkpoints.published import Weights
from experiment.build import network_of
from experiment.progress import waiting
from experiment.workdir import Workdir


def read_weights(config: ConfigDict, file: Path) -> Weights:
    """The weights in `file`, checked against the config's network; neither needs the data set to be there.

    Raises:
      ValueError: a format that is not known, a pickle that names more than tensors, parameters that do not fit.
      OSError: no such file.
    """
    importing.detect(file)  # before anything is built
    with waiting(f"reading {file}"):
        weights = importing.read(file, network_of(config))
    wrapper = weights.metadata.get("preconditioning", config.model.preconditioning)
    if wrapper != config.model.preconditioning:
        raise ValueError(
            f"model.preconditioning is {config.model.preconditioning!r}, and {file} was trained inside {wrapper!r}"
        )
    return weights


def import_weights(config: ConfigDict, file: Path, workdir: Workdir) -> int:
    """Write the weights as the checkpoint of their step, with the config beside it, and return the step.

    The checkpoint holds raw and averaged weights and no optimiser; training on from it begins with a fresh one.

    Raises:
      ValueError: as `read_weights`, or a working folder of another config or run.
      FileExistsError: another checkpoint of this step.
    """
    if workdir.config_file.exists():
        workdir.check(config, training=False)
    weights = read_weights(config, file)
    with workdir.store(read_only=True) as store:
        others = sorted(set(store.steps()) - {weights.step})
    if others:
        raise ValueError(f"{workdir.path} already holds checkpoints of steps {others}; import into another --workdir")
    known = {"file": weights.file.name, "format": importing.detect(file), "sha256": importing.sha256(weights.file)}
    step, origin = weights.step, weights.metadata | known
    with waiting(f"writing the checkpoint of step {step}"), workdir.store() as store:
        store.save(step, _tree(weights), {"imported": origin, "config": config.to_dict()})
        del weights  # the store has its own copy, and is still writing
    if not workdir.config_file.exists():
        workdir.begin(config)
    return step


def _tree(weights: Weights) -> dict[str, Any]:
    return {
        "step": np.int32(weights.step),
        "params": weights.params,
        "ema": weights.ema,
        "fixed": weights.fixed,  # JAX files average the Fourier frequencies as well: the raw ones differ by rounding
    }
