"""Codecs by name: each maps stored data to the space in which they are modelled, and back.

A new codec is one file with a `base.Codec` and one line in CODECS; ``config.data.codec`` names the one that is used.
"""

from collections.abc import Callable
from typing import Any

from autoencoders.base import Codec
from autoencoders.grey_levels import GreyLevels

__all__ = ["CODECS", "Codec", "GreyLevels"]

CODECS: dict[str, Callable[..., Any]] = {
    "levels": GreyLevels,
}
"""The constructor of each codec, of the data's grey levels, their range, dequantisation and shape."""
