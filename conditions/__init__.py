"""What a network is told of an example besides its noise: conditions, and the conditioners that make them.

A new kind of condition is one file with a `base.Conditioner` and one line in CONDITIONERS.
"""

from collections.abc import Callable, Mapping
from typing import Any

from conditions.base import Condition, Conditioner, with_end
from conditions.beside import Beside
from conditions.features import Features
from conditions.known import Known
from conditions.labels import NO_CLASS, Labels, one_hot
from conditions.low_res import LowRes
from conditions.present import Present, marked, only_present
from conditions.sizes import Sizes
from conditions.together import Together
from conditions.tokens import Tokens

__all__ = [
    "CONDITIONERS",
    "NO_CLASS",
    "Beside",
    "Condition",
    "Conditioner",
    "Features",
    "Known",
    "Labels",
    "LowRes",
    "Present",
    "Sizes",
    "Together",
    "Tokens",
    "marked",
    "of_network",
    "one_hot",
    "only_present",
    "with_end",
]

CONDITIONERS: dict[str, Callable[[Any], Conditioner]] = {
    "label_dim": lambda options: Labels(options["label_dim"]),
    "tokens": lambda options: Tokens(),
    "text_dim": lambda options: Features("text", options.get("nothing")),
    "pooled_dim": lambda options: _whole(options),
    "image_channels": lambda options: Beside(),
    "inpaint": lambda options: Known(),
    "padded": lambda options: Present(),
    "upsampling": lambda options: LowRes(options["upsampling"], options.get("low_res_noise", 0.0)),
}
"""Each kind, made of a network's options, by the option that says how much of it the network takes, 0 for none."""


def _whole(options: Mapping[str, Any]) -> Together:
    """The features of the whole text, and the six numbers that a network is told with them."""
    size = (options["size"],) if "size" in options else ()
    return Together((Features("pooled", options.get("nothing")), Sizes(*size)))


def of_network(options: Mapping[str, Any]) -> Together:
    """What a network of these options is told, all kinds together; a network that takes none is told nothing.

    Beside the network's own there may be "nothing", which gives the features of no text (`Features.nothing`), and
    "size", the six numbers of the pictures (`Sizes.numbers`); and "padded", whether points of its sets may be absent.
    """
    return Together(tuple(make(options) for name, make in CONDITIONERS.items() if options.get(name)))
