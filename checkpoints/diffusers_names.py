"""What diffusers calls the arrays of a U-Net, today and in old files."""

import re
from collections.abc import Mapping

import numpy as np

BLOCK = {
    "norm0": "norm1",
    "conv0": "conv1",
    "time": "time_emb_proj",
    "norm1": "norm2",
    "conv1": "conv2",
    "shortcut": "conv_shortcut",
}
ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
ATTENTION["qkv"] = FUSED = "to_qkv"
"""Attention's maps; the last one stands for three of theirs, `fused`."""
MODULES = {
    r"(conv_in|conv_out)": r"\1",
    r"norm_out": "conv_norm_out",
    r"time0": "time_embedding.linear_1",
    r"time1": "time_embedding.linear_2",
    r"fourier": "time_proj",
    r"middle\.0\.(\w+)": r"mid_block.resnets.0.\1",
    r"middle\.1\.(\w+)": r"mid_block.attentions.0.\1",
    r"middle\.2\.(\w+)": r"mid_block.resnets.1.\1",
    r"(down|up)\.(\d+)\.blocks\.(\d+)\.(\w+)": r"\1_blocks.\2.resnets.\3.\4",
    r"(down|up)\.(\d+)\.attention\.(\d+)\.(\w+)": r"\1_blocks.\2.attentions.\3.\4",
    r"(down|up)\.(\d+)\.resize\.conv": r"\1_blocks.\2.\1samplers.0.conv",
    r"(down|up)\.(\d+)\.resize\.(norm\d|conv\d|time|shortcut)": r"\1_blocks.\2.resnet_\1.\3",
    r"down\.(\d+)\.combine": r"down_blocks.\1.skip_conv",
    r"up\.(\d+)\.(norm|conv)": r"up_blocks.\1.skip_\2",
}
"""Our modules and theirs, but for the parts of blocks and attention."""

OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def their_module(module: str) -> str:
    """What diffusers calls a module of our U-Nets."""
    (theirs,) = (re.sub(ours, other, module) for ours, other in MODULES.items() if re.fullmatch(ours, module))
    head, _, part = theirs.rpartition(".")
    if "resnet" in head:
        return f"{head}.{BLOCK[part]}"
    return f"{head}.{ATTENTION[part]}" if "attentions" in head else theirs


def new_names(file: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by today's names; old files have others for attention, and the Fourier frequencies twice."""
    found = {}
    for name, array in arrays.items():
        if name == "time_proj.W":
            if not np.array_equal(array, arrays.get("time_proj.weight", array)):
                raise ValueError(f"{file} holds two different time_proj.W and time_proj.weight")
            name = "time_proj.weight"
        found[name] = array
    return renamed(found)


def renamed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with today's names of the attention's maps."""
    old = r"(.*attentions\.\d+)\.(query|key|value|proj_attn)\.(\w+)"
    return {re.sub(old, lambda m: f"{m[1]}.{OLD_NAMES[m[2]]}.{m[3]}", name): array for name, array in arrays.items()}


PARTS = tuple(ATTENTION[part] for part in ("query", "key", "value"))


def fused(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with the three maps of each attention in one, the queries of all heads first."""
    found = dict(arrays)
    for name in arrays:
        parts = [name.replace(f".{PARTS[0]}.", f".{part}.") for part in PARTS]
        if parts[0] != parts[1] and all(part in arrays for part in parts):
            found[name.replace(f".{PARTS[0]}.", f".{FUSED}.")] = np.concatenate([found.pop(part) for part in parts])
    return found


def apart(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `fused`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        split = np.split(array, 3) if f".{FUSED}." in name else [array]
        found |= {name.replace(f".{FUSED}.", f".{part}."): a for part, a in zip(PARTS, split, strict=False)}
    return found
