"""Codecs: each maps stored data to the space in which they are modelled, and back.

``config.data.codec`` is a name of CODECS, or the folder of a run that has trained an autoencoder, or holds an imported
one, whose latents are modelled then. A new codec is one file with a `base.Codec` and one line in CODECS.
"""

from collections.abc import Callable
from typing import Any

from autoencoders.base import Codec
from autoencoders.categories import Categories
from autoencoders.grey_levels import GreyLevels
from autoencoders.latents import Autoencoder, Latents, of_one_space

__all__ = ["CODECS", "Autoencoder", "Categories", "Codec", "GreyLevels", "Latents", "of_one_space"]

CODECS: dict[str, Callable[..., Any]] = {
    "levels": GreyLevels.of_source,
    "categories": Categories.of_source,
}
"""The constructor of each codec, of a data set (`data.Source`), of whether x is centered, and of the dequantisation."""
