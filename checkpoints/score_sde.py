"""The mapping from the published score-SDE networks to ours: their modules in order, names inside them, layouts."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints.published import refuse_misfits
from models.functional import Network, Variables

Flat = dict[str, np.ndarray]
INSIDE = {  # of a published class: our name -> its names, of which one is there
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
LEAVES = {
    "kernel": ["kernel", "weight", "W"],
    "scale": ["scale", "weight"],
    "bias": ["bias", "b"],
    "frequencies": ["W"],
}


def published_modules(network: Network) -> list[tuple[str, str]]:
    """(our dotted prefix, published class) of every module with parameters, in the order of publication.

    Raises:
      ValueError: a network the published code has no checkpoints of.
    """
    options = dict(network.options)
    if network.name not in ("ncsnpp", "ddpm"):
        raise ValueError(f"the published score-SDE checkpoints are of ncsnpp and ddpm, not of {network.name}")
    names = set().union(*network.abstract().values())
    present = {".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 1)}
    block, resized = "ResnetBlock", network.name == "ncsnpp" and options.get("resblock_type", "biggan") == "biggan"

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
    strangers = []
    for name, value in weights.items():
        parts = re.fullmatch(r"(?:module\.)?all_modules\.(\d+)\.(.+)", name)
        if parts is None:
            strangers.append(name)
            continue
        number, inside = parts.groups()
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2 and inside.endswith("weight"):
            value = value.T
        groups[int(number)][inside] = value
    named = [(f"all_modules.{number}", groups[number]) for number in sorted(groups)]
    kinds = [kind for _, kind in published_modules(network)]
    pairs = list(zip(kinds, named, strict=False))
    return _assemble(network, [group for _, group in pairs], strangers, named[len(kinds) :], file)


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
        group = {}
        for key, value in tree[name].items():
            nested = value if isinstance(value, Mapping) else {"": value}
            group |= {f"{key}.{leaf}".rstrip("."): np.asarray(array) for leaf, array in nested.items()}
        return group

    groups = []
    for _, kind in published_modules(network):
        _, name = next(queues.get(kind, iter(())), (0, None))
        groups.append((name, flat(name)) if name else None)
    left_over = [(name, flat(name)) for queue in queues.values() for _, name in queue]
    return _assemble(network, groups, [], left_over, file)


def _assemble(
    network: Network,
    groups: list[tuple[str, Flat] | None],
    strangers: list[str],
    left_over: list[tuple[str, Flat]],
    file: str,
) -> Variables:
    """Fill the network from one (published name, {name inside the module: array in our layout}) a module, in order."""
    modules = published_modules(network)
    groups = groups + [None] * (len(modules) - len(groups))
    by_prefix = {prefix: (kind, *(group or ("", {}))) for (prefix, kind), group in zip(modules, groups, strict=True)}
    rest = {f"{name}.{inside}" for name, group in left_over for inside in group} | set(strangers)
    rest |= {f"{name}.{inside}" for _, name, group in by_prefix.values() for inside in group}
    missing, shapes, variables = [], [], {}
    for collection, named in network.abstract().items():
        variables[collection] = {}
        for name, leaf in named.items():
            prefix = max((p for p in by_prefix if name.startswith(p + ".")), key=len)
            kind, module, group = by_prefix[prefix]
            inside, _, last = name.removeprefix(prefix + ".").rpartition(".")
            subs = INSIDE.get(kind, {"": [""]}).get(inside, [])
            candidates = [f"{sub}.{leaf_name}".lstrip(".") for sub in subs for leaf_name in LEAVES[last]]
            found = next((c for c in candidates if c in group), None)
            if found is None:
                missing.append(name)
                continue
            value = group[found]
            rest.discard(f"{module}.{found}")
            # 1x1 convolutions are matrices here, group norms of flax <= 0.3.5 are (1, 1, 1, C)
            squeezed = tuple(n for n in value.shape if n != 1), tuple(n for n in leaf.shape if n != 1)
            if squeezed[0] != squeezed[1]:
                shapes.append(f"{module}.{found} is {value.shape}, {name} {leaf.shape}")
                continue
            # a copy, so that nothing holds on to the file
            variables[collection][name] = np.array(value.reshape(leaf.shape), leaf.dtype, order="C")
    refuse_misfits(file, missing, sorted(rest), shapes)
    return variables
