"""Published checkpoints as variables of this project's networks: for tests only."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from models.functional import Network, Variables
from tests.models import torch_file

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
    saved = torch_file.load(path)
    model = {name: value for name, value in saved["model"].items() if not name.endswith(".sigmas")}
    trained = [name for name in model if not name.endswith("all_modules.0.W")]
    shadow = saved["ema"]["shadow_params"]
    assert [model[name].shape for name in trained] == [value.shape for value in shadow]
    return model, model | dict(zip(trained, shadow, strict=True))


def load_network(name: str) -> tuple[Network, Variables, Variables, dict[str, Any]]:
    """(network, averaged variables, raw variables, config) of a reference network; "jax/NAME" for those by JAX."""
    if name.startswith("jax/"):
        config = json.loads((REFERENCE / name / "config.json").read_text())
        network = network_of(config)
        (path,) = (REFERENCE / name).glob("checkpoint_*")
        saved = serialization.msgpack_restore(path.read_bytes())
        ema, raw = saved["params_ema"], saved["optimizer"]["target"]
        return network, from_jax(network, ema), from_jax(network, raw), config
    config = json.loads((REFERENCE / "models" / f"{name}.json").read_text())
    network = network_of(config)
    raw, ema = load_pth(REFERENCE / "models" / f"{name}.pth")
    return network, to_variables(network, ema), to_variables(network, raw), config


def published_modules(network: Network) -> list[tuple[str, str]]:
    """(our dotted prefix, published class) of every module with parameters, in the order of publication."""
    names = set().union(*network.abstract().values())
    present = {".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 1)}
    options = dict(network.options)
    block, resized = "ResnetBlock", options.get("resblock_type") == "biggan"

    def level(prefix: str, tail: list[tuple[str, str]]) -> list[tuple[str, str]]:
        modules = []
        for i in range(options["num_res_blocks"] + 1):
            modules += [(f"{prefix}.blocks.{i}", block), (f"{prefix}.attention.{i}", "AttnBlock")]
        if prefix.startswith("up"):  # one attention, behind all blocks
            modules.sort(key=lambda module: module[1] == "AttnBlock")
        return modules + [(f"{prefix}.{part}", kind) for part, kind in tail]

    levels = range(len(options["ch_mult"]))
    down = [("resize", block if resized else "Downsample"), ("pyramid", "Downsample"), ("combine", "Combine")]
    up = [("norm", "GroupNorm"), ("conv", "Conv"), ("pyramid", "Upsample")]
    up.append(("resize", block if resized else "Upsample"))
    order = [("fourier", "GaussianFourierProjection"), ("time0", "Dense"), ("time1", "Dense"), ("conv_in", "Conv")]
    for i in levels:
        order += level(f"down.{i}", down)
    order += [("middle.0", block), ("middle.1", "AttnBlock"), ("middle.2", block)]
    for i in levels:
        order += level(f"up.{i}", up)
    order += [("norm_out", "GroupNorm"), ("conv_out", "Conv")]
    return [module for module in order if module[0] in present]


INSIDE = {
    "ResnetBlock": {
        "norm0": ["GroupNorm_0"],
        "conv0": ["Conv_0"],
        "time": ["Dense_0"],
        "norm1": ["GroupNorm_1"],
        "conv1": ["Conv_1"],
        "shortcut": ["Conv_2", "NIN_0"],
    },
    "AttnBlock": {
        "norm": ["GroupNorm_0"],
        "query": ["NIN_0"],
        "key": ["NIN_1"],
        "value": ["NIN_2"],
        "out": ["NIN_3"],
    },
    "Downsample": {"conv": ["Conv_0", "Conv2d_0"]},
    "Upsample": {"conv": ["Conv_0", "Conv2d_0"]},
    "Combine": {"": ["Conv_0"]},
}
LEAVES = {"kernel": ["kernel", "weight", "W"], "scale": ["scale", "weight"], "bias": ["bias", "b"]}
LEAVES["frequencies"] = ["W"]


def _assemble(network: Network, groups: list[Flat]) -> Variables:
    """Fill the network's variables from one {published name inside the module: array in our layout} a module."""
    modules = published_modules(network)
    assert len(groups) == len(modules), f"{len(groups)} published modules, {len(modules)} here"
    by_prefix = {prefix: (kind, dict(group)) for (prefix, kind), group in zip(modules, groups, strict=True)}
    variables = {}
    for collection, named in network.abstract().items():
        variables[collection] = {}
        for name, leaf in named.items():
            (prefix,) = (p for p in by_prefix if name.startswith(p + "."))
            kind, group = by_prefix[prefix]
            inside, _, last = name.removeprefix(prefix + ".").rpartition(".")
            subs = INSIDE.get(kind, {"": [""]})[inside]
            candidates = [f"{sub}.{leaf_name}".lstrip(".") for sub in subs for leaf_name in LEAVES[last]]
            (found,) = (c for c in candidates if c in group)
            value = group.pop(found)
            assert value.size == np.prod(leaf.shape, dtype=int), (name, value.shape, leaf.shape)
            variables[collection][name] = value.reshape(leaf.shape)
    left = {prefix: list(group) for prefix, (_, group) in by_prefix.items() if group}
    assert not left, f"published arrays without a place here: {left}"
    return variables


def to_variables(network: Network, weights: Flat) -> Variables:
    """Variables from PyTorch weights by their published names ("module.all_modules.K...")."""
    groups = defaultdict(dict)
    for name, value in weights.items():
        number, inside = re.fullmatch(r"(?:module\.)?all_modules\.(\d+)\.(.+)", name).groups()
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2 and inside.endswith("weight"):
            value = value.T
        groups[int(number)][inside] = value
    return _assemble(network, [groups[number] for number in sorted(groups)])


def from_jax(network: Network, tree: Mapping[str, Any]) -> Variables:
    """Variables from the parameter tree of a JAX checkpoint: each class is numbered by itself."""
    numbered = defaultdict(list)
    for name in tree:
        kind, number = name.rsplit("_", 1)
        kind = re.sub(r"^(ResnetBlock|AttnBlock).*", r"\1", kind)
        numbered[kind].append((int(number), name))
    queues = {kind: iter(sorted(names)) for kind, names in numbered.items()}
    groups = []
    for _, kind in published_modules(network):
        _, name = next(queues[kind])
        group = {}
        for key, value in tree[name].items():
            nested = value if isinstance(value, Mapping) else {"": value}
            group |= {f"{key}.{leaf}".rstrip("."): np.asarray(array) for leaf, array in nested.items()}
        groups.append(group)
    assert all(next(queue, None) is None for queue in queues.values())
    return _assemble(network, groups)


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
