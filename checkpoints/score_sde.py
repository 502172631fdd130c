"""The mapping from the published score-SDE networks to ours: their modules in order, names inside them, layouts."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints.published import refuse_misfits
from models.functional import Network, Variables

Flat = dict[str, np.ndarray]
PARTS = {  # of a published class: its names and ours
    "ResnetBlock": {
        "GroupNorm_0": "norm0",
        "Conv_0": "conv0",
        "Dense_0": "time",
        "GroupNorm_1": "norm1",
        "Conv_1": "conv1",
        "Conv_2": "shortcut",
        "NIN_0": "shortcut",
    },
    "AttnBlock": {"GroupNorm_0": "norm", "NIN_0": "query", "NIN_1": "key", "NIN_2": "value", "NIN_3": "out"},
    "Downsample": {"Conv_0": "conv", "Conv2d_0": "conv"},
    "Upsample": {"Conv_0": "conv", "Conv2d_0": "conv"},
    "Combine": {"Conv_0": ""},
}
LEAVES = {
    "kernel": ("kernel", "weight", "W"),
    "scale": ("scale", "weight"),
    "bias": ("bias", "b"),
    "frequencies": ("W",),
}


def check_published(network: Network) -> None:
    """ValueError for a network that score_sde published no checkpoints of."""
    if network.name not in ("ncsnpp", "ddpm"):
        raise ValueError(f"the published score-SDE checkpoints are of ncsnpp and ddpm, not of {network.name}")


def published_modules(network: Network) -> list[tuple[str, str]]:
    """(our dotted prefix, published class) of every module with parameters, in the order of publication.

    The network is `ncsnpp`, `ddpm`, or the `edm_unet` of consistency models on CIFAR-10.
    """
    options = dict(network.options)
    names = set().union(*network.abstract().values())
    present = {".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 1)}
    block, resized = "ResnetBlock", network.name != "ddpm" and options.get("resblock_type", "biggan") == "biggan"

    def level(prefix: str, tail: list[tuple[str, str]]) -> list[tuple[str, str]]:
        modules = []
        for i in range(sum(name.startswith(f"{prefix}.blocks.") and name.count(".") == 3 for name in present)):
            modules += [(f"{prefix}.blocks.{i}", block), (f"{prefix}.attention.{i}", "AttnBlock")]
        if prefix.startswith("up"):  # one attention, behind all blocks
            modules.sort(key=lambda module: module[1] == "AttnBlock")
        return modules + [(f"{prefix}.{part}", kind) for part, kind in tail]

    levels = range(len({name.split(".")[1] for name in present if name.startswith("down.")}))
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


def from_torch(network: Network, weights: Flat, file: str) -> Variables:
    """Variables from PyTorch weights by their published names ("module.all_modules.K...").

    Raises:
      ValueError: names or shapes that do not fit, listed.
    """
    groups: dict[int, Flat] = defaultdict(dict)
    left_over = []
    for name, value in weights.items():
        parts = re.fullmatch(r"(?:module\.)?all_modules\.(\d+)\.(.+)", name)
        if parts is None:
            left_over.append(name)
            continue
        number, inside = parts.groups()
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2 and inside.endswith("weight"):
            value = value.T
        groups[int(number)][inside] = value
    named = [(f"all_modules.{number}", groups[number]) for number in sorted(groups)]
    return _assemble(network, published_modules(network), named, left_over, file)


def from_jax(network: Network, tree: Mapping[str, Any], file: str) -> Variables:
    """Variables from the parameter tree of a JAX checkpoint, where each class is numbered by itself.

    Raises:
      ValueError: names or shapes that do not fit, listed.
    """
    numbered = defaultdict(list)
    for name in tree:
        kind, _, number = name.rpartition("_")
        kind = re.sub(r"^(ResnetBlock|AttnBlock).*", r"\1", kind)
        numbered[kind].append((int(number) if number.isdecimal() else -1, name))
    queues = {kind: iter(sorted(names)) for kind, names in numbered.items()}

    def flat(name: str) -> Flat:
        group: Flat = {}
        for key, value in tree[name].items():
            nested = value if isinstance(value, Mapping) else {"": value}
            group |= {f"{key}.{leaf}".rstrip("."): np.asarray(array) for leaf, array in nested.items()}
        return group

    groups, modules = [], published_modules(network)
    for _, kind in modules:
        _, name = next(queues.get(kind, iter(())), (0, ""))
        groups.append((name, flat(name) if name else {}))
    groups += [(name, flat(name)) for queue in queues.values() for _, name in queue]
    return _assemble(network, modules, groups, [], file)


def _assemble(
    network: Network, modules: list[tuple[str, str]], groups: list[tuple[str, Flat]], left_over: list[str], file: str
) -> Variables:
    """Fill the network from one (published name, {name inside the module: array in our layout}) a module, in order.

    Groups beyond the last module are left over, as the names in `left_over` are.
    """
    abstract = network.abstract()
    ours = set().union(*abstract.values())
    found: dict[str, tuple[str, np.ndarray]] = {}
    for (module, group), (prefix, kind) in zip(groups, modules, strict=False):
        parts = PARTS.get(kind, {"": ""})
        for inside, array in group.items():
            sub, _, leaf = inside.rpartition(".")
            stem = f"{prefix}.{parts[sub]}".rstrip(".") if sub in parts else ""
            names = (f"{stem}.{last}" for last, theirs in LEAVES.items() if leaf in theirs)
            name = next((name for name in names if name in ours and name not in found), None)
            if name is None:
                left_over.append(f"{module}.{inside}")
            else:
                found[name] = f"{module}.{inside}", array
    left_over += [f"{module}.{inside}" for module, group in groups[len(modules) :] for inside in group]
    missing, shapes = [], []
    variables: Variables = {collection: {} for collection in abstract}
    for collection, named in abstract.items():
        for name, leaf in named.items():
            if name not in found:
                missing.append(name)
                continue
            theirs, value = found[name]
            # 1x1 convolutions are matrices here, group norms of flax <= 0.3.5 are (1, 1, 1, C)
            squeezed = tuple(n for n in value.shape if n != 1), tuple(n for n in leaf.shape if n != 1)
            if squeezed[0] != squeezed[1]:
                shapes.append(f"{theirs} is {value.shape}, {name} {leaf.shape}")
                continue
            # a copy, so that nothing holds on to the file
            variables[collection][name] = np.array(value.reshape(leaf.shape), leaf.dtype, order="C")
    refuse_misfits(file, missing, sorted(left_over), shapes)
    return variables
