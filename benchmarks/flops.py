"""Floating-point operations of a network, two for each multiply-add, counted from its layers.

A layer's count is that of its plain form: every kernel's numbers times the positions it is applied at, and the two
products of attention. What the compiler or a faster algorithm makes of them (fewer multiplications, a fused layer) does
not change the count, so that figures of different programs compare. Norms, nonlinearities, filters and sums are left
out: under 1 % of a U-Net's. NCSN++ on CIFAR-10 has 21.75 GFLOP an image; 21.79 with its resampling filters counted
as the 4x4 convolutions at full size that they are in the published code.
"""

import math
import re

from limits import Sides, sides
from models.functional import Network

TRAINING = 3
"""A training step in forward passes: the gradients of inputs and of weights are as much work as the layer, each."""

EACH_EXAMPLE = re.compile(r"(time|time0|time1|classes)\.kernel$")  # on vectors
ATTENTION = re.compile(r"(query|qkv)\.kernel$")


def forward(network: Network) -> int:
    """Operations of one evaluation on one example, of ncsnpp, ddpm (their layers' names say where they are) or mlp.

    Raises ValueError for other networks.
    """
    if network.name not in ("ncsnpp", "ddpm", "mlp"):
        raise ValueError(f"the operations of {network.name!r} are not counted; those of ncsnpp, ddpm and mlp are")
    params, options = network.abstract()["params"], dict(network.options)
    kernels = {name: leaf for name, leaf in params.items() if name.endswith("kernel")}
    if network.name == "mlp":
        return 2 * sum(leaf.size for leaf in kernels.values())
    levels = sum(re.fullmatch(r"down\.\d+\.blocks\.0\.conv0\.kernel", name) is not None for name in kernels)
    total = 0
    for name, leaf in kernels.items():
        pixels = 1 if EACH_EXAMPLE.search(name) else _pixels(name, options["image_size"], levels)
        total += 2 * leaf.size * pixels
        if ATTENTION.search(name):  # logits and weighted sum: each pixel with each, over the channels
            total += 2 * 2 * pixels**2 * leaf.shape[0]
    return total


def _pixels(name: str, image_size: Sides, levels: int) -> int:
    """The pixels of the feature map that a layer writes."""
    way, _, rest = name.partition(".")
    level = levels - 1 if way == "middle" else 0
    if way in ("down", "up"):
        i, part = rest.split(".")[:2]
        level = int(i) if way == "down" else levels - 1 - int(i)  # the way up begins at the smallest
        if part in ("resize", "pyramid", "combine"):  # of the next level; up the image pyramid arrives at its own
            level += {"down": 1, "up": -1 if part == "resize" else 0}[way]
    return math.prod(side >> level for side in sides(image_size))
