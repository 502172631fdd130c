"""A run in one file, to be handed on: its config, the step and the averaged weights, as safetensors with a checksum.

Arrays are named "params/NAME" and "fixed/NAME" by the network's own names; config and step are texts beside them.
Nothing in such a file can be executed. It holds no optimiser and no raw weights: a training that goes on from it begins
its optimiser anew.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from checkpoints import safetensors_file
from checkpoints.published import Weights, refuse_misfits
from models.functional import Network, Variables

FORMAT = "jax-score-sde run"
MARK = f'"format":"{FORMAT}"'.encode()
"""These bytes lie in the header of every such file, within its first MiB."""
COLLECTIONS = ("params", "fixed")


class RunFile(NamedTuple):
    """What such a file holds: the config as nested dictionaries, the training step, and the averaged weights."""

    config: dict[str, Any]
    step: int
    variables: Variables


def is_one(path: Path) -> bool:
    """Whether a path is of such a file, sound or not."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return MARK in file.read(2**20)


def save(path: str | Path, config: Mapping[str, Any], step: int, variables: Variables) -> None:
    """Write a run; `variables` are {"params", "fixed"}, the averaged weights."""
    tensors = {
        f"{collection}/{name}": np.asarray(jax.device_get(array))
        for collection in COLLECTIONS
        for name, array in variables[collection].items()
    }
    texts = {"format": FORMAT, "config": json.dumps(config, sort_keys=True), "step": str(int(step))}
    safetensors_file.save(path, tensors, {**texts, "sha256": _checksum(texts, tensors)})


def load(path: str | Path) -> RunFile:
    """The run in a file.

    Raises:
      ValueError: a file of another format, one that is cut short, or one whose content is not what was written.
      OSError: no such file.
    """
    texts, tensors = safetensors_file.metadata(path), safetensors_file.load(path)
    if texts.get("format") != FORMAT:
        raise ValueError(f"{path} is a safetensors file, but none that Run.save writes (its format is no {FORMAT!r})")
    if texts.get("sha256") != _checksum(texts, tensors):
        raise ValueError(f"{path} is damaged: its content does not match its checksum; fetch it again")
    variables: Variables = {collection: {} for collection in COLLECTIONS}
    for name, array in tensors.items():
        collection, _, rest = name.partition("/")
        variables[collection][rest] = array
    return RunFile(json.loads(texts["config"]), int(texts["step"]), variables)


def fitted(path: str | Path, network: Network, variables: Variables) -> Variables:
    """The variables of a file, which must be those of the network; ValueError, with the names, where they are not."""
    abstract = network.abstract()
    wanted = {f"{part}/{name}": leaf.shape for part in COLLECTIONS for name, leaf in abstract[part].items()}
    given = {f"{part}/{name}": array.shape for part in COLLECTIONS for name, array in variables[part].items()}
    missing, left_over = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    differing = [name for name in wanted if name in given and given[name] != wanted[name]]
    shapes = [f"{name} {given[name]}, expected {wanted[name]}" for name in differing]
    refuse_misfits(str(path), missing, left_over, shapes)
    return variables


def read(path: str | Path, network: Network) -> Weights:
    """The weights in a file, for the network that the config names; raises what `load` and `fitted` do."""
    found = load(path)
    weights = fitted(path, network, found.variables)
    return Weights(weights["params"], weights["params"], weights["fixed"], found.step, {}, Path(path))


def _checksum(texts: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the config, the step, and all arrays with their names, kinds and shapes."""
    digest = hashlib.sha256(json.dumps([texts.get(name) for name in ("format", "config", "step")]).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"\n{name} {array.dtype.name} {array.shape} {math.prod(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
