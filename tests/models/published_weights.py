"""The recorded networks, read by the importers that users have."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from checkpoints import importing, score_sde_torch, torch_file
from checkpoints.score_sde import from_torch
from models.functional import Network, Variables

REFERENCE = Path(__file__).parents[1] / "reference" / "score_sde"
Flat = dict[str, np.ndarray]

OPTIONS = {
    "ncsnpp": "nf ch_mult num_res_blocks attn_resolutions dropout resamp_with_conv conditional fir fir_kernel "
    "skip_rescale resblock_type progressive progressive_input progressive_combine embedding_type init_scale "
    "fourier_scale nonlinearity scale_by_sigma sigma_min sigma_max num_scales",
    "ddpm": "nf ch_mult num_res_blocks attn_resolutions dropout resamp_with_conv conditional nonlinearity "
    "scale_by_sigma sigma_min sigma_max num_scales",
}


def compiled(function: Callable) -> Callable:
    """jit that compiles in half the time: what runs two or three times."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def network_of(config: Mapping[str, Any]) -> Network:
    """The network a published configuration (as a dictionary) describes."""
    model, data = config["model"], config["data"]
    options = {name: model[name] for name in OPTIONS[model["name"]].split() if name in model}
    return Network.create(
        model["name"],
        image_size=data["image_size"],
        num_channels=data["num_channels"],
        centered=data["centered"],
        **options,
    )


def load_pth(path: str | Path) -> tuple[Flat, Flat]:
    """A PyTorch checkpoint's weights, raw and averaged, by their published names."""
    return score_sde_torch.split(torch_file.load(path), str(path))


def to_variables(network: Network, weights: Flat) -> Variables:
    """Variables from PyTorch weights by their published names."""
    return from_torch(network, weights, "these weights")


def load_network(name: str) -> tuple[Network, Variables, Variables, dict[str, Any]]:
    """(network, averaged variables, raw variables, config) of a reference network; "jax/NAME" for those by JAX."""
    if name.startswith("jax/"):
        config = json.loads((REFERENCE / name / "config.json").read_text())
        (path,) = (REFERENCE / name).glob("checkpoint_*")
    else:
        config = json.loads((REFERENCE / "models" / f"{name}.json").read_text())
        path = REFERENCE / "models" / f"{name}.pth"
    network = network_of(config)
    weights = importing.read(path, network)
    return network, weights.variables(ema=True), weights.variables(ema=False), config


def formula_weights(name: str) -> tuple[dict[str, Any], Flat]:
    """(config, weights by published name) of a full-size case whose weights a formula gives."""
    case = json.loads((REFERENCE / "models" / f"{name}.json").read_text())
    start, weights, total = case["fill"]["seed"], {}, 0.0
    for entry in case["params"]:
        size = int(np.prod(entry["shape"]))
        h = (np.arange(start, start + size) & 0xFFFFFFFF).astype(np.uint32)
        h = (h ^ h >> 16) * np.uint32(0x85EBCA6B)
        h = (h ^ h >> 13) * np.uint32(0xC2B2AE35)
        h ^= h >> 16
        u = (h >> 8) / 2.0**23 - 1
        value = (entry["center"] + entry["amp"] * u).astype(np.float32)
        assert value[0] == np.float32(entry["first"])
        total += float(value.sum(dtype=np.float64))
        weights[entry["key"]] = value.reshape(entry["shape"])
        start += size
    assert start - case["fill"]["seed"] == case["fill"]["count"]
    assert abs(total - case["fill"]["sum"]) < 1e-6 * case["fill"]["abs_sum"]
    return case["config"], weights
