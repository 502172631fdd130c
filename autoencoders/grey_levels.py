"""The codec of grey levels: whole numbers to floats and back.

A stored level k in {0, ..., L-1} becomes y in [0, 1]: dequantised (Uria et al. 2013), y = (k + u) / L
with u uniform on [0, 1), or simply y = k / (L - 1). The model sees y, or 2 y - 1 where `centered`.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped

AnyArray = Array | np.ndarray

# u is the midpoint of one of 4096 equal cells rather than any float32 in [0, 1): for the largest of
# those k + u rounds up to k + 1, and u = 0 may fall below k in the division. Midpoints survive all rounding.
CELLS = 4096


@dataclass(frozen=True)
class GreyLevels:
    """The codec of images, or other data, of so many grey levels; continuous data (`levels` None) are left alone.

    Attributes:
      levels: how many grey levels there are, or None.
      centered: whether x lies in [-1, 1] rather than in [0, 1].
      dequantization: "uniform" noise within a level, or "none".
      shape: of one example, the same in x as stored.
      field: the name of the data in a record.
      modality: what the axes of the data mean (`data.Source.modality`), on which no number depends.
    """

    levels: int | None
    centered: bool
    dequantization: str
    shape: tuple[int, ...] = ()
    field: str = "image"
    modality: str = "image"

    def __post_init__(self) -> None:
        if self.levels is not None and not 2 <= self.levels <= 256:
            raise ValueError(f"levels must be None or between 2 and 256, got {self.levels}")
        if self.dequantization not in ("uniform", "none"):
            raise ValueError(f"dequantization must be 'uniform' or 'none', got {self.dequantization!r}")

    @classmethod
    def of_source(cls, source: Any, centered: bool, dequantization: str) -> "GreyLevels":
        """The codec of a data set (`data.Source`)."""
        return cls(source.levels, centered, dequantization, source.shape, modality=source.modality)

    @property
    def pictures(self) -> "GreyLevels":
        """This codec itself: x are the floats of the stored data."""
        return self

    @property
    def information(self) -> tuple[str, float]:
        """Bits, of each number; those of continuous data are differential."""
        return "bits/dim" if self.levels else "bits/dim (differential)", 1.0

    def encode(self, data: Shaped[AnyArray, "b *d"], keys: Key[Array, " b"] | None = None) -> Float[AnyArray, "b *d"]:
        """Levels to floats. Uniform dequantisation draws the noise of example i from keys[i]."""
        if self.levels is None:
            return data
        k = jnp.asarray(data, jnp.float32)
        if self.dequantization == "none":
            y = k / (self.levels - 1)
        elif keys is None:
            raise ValueError("uniform dequantisation needs keys, one an example")
        else:
            cell = jax.vmap(lambda key: jax.random.randint(key, k.shape[1:], 0, CELLS))(keys)
            y = (k + (cell + 0.5) / CELLS) / self.levels
        return 2 * y - 1 if self.centered else y

    def decode(self, x: Float[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """The level (uint8) of a float, inverting `encode`; values out of range are clipped. NumPy in, NumPy out."""
        if self.levels is None:
            return x
        xp = x.__array_namespace__()
        y = (x + 1) / 2 if self.centered else x
        k = xp.floor(y * self.levels) if self.dequantization == "uniform" else xp.round(y * (self.levels - 1))
        return xp.clip(k, 0, self.levels - 1).astype(xp.uint8)

    def of_pictures(self, y: Float[AnyArray, "b *d"]) -> Float[AnyArray, "b *d"]:
        """These very floats."""
        return y

    def reconstruct(self, x: Float[AnyArray, "b *d"]) -> Float[AnyArray, "b *d"]:
        """These very floats."""
        return x

    def bare(self) -> "GreyLevels":
        """The codec of records that hold x itself: of continuous data."""
        return dataclasses.replace(self, levels=None)

    def about(self) -> dict[str, Any]:
        """Its attributes, and its kind."""
        return {"kind": type(self).__name__} | {
            name: value for name, value in dataclasses.asdict(self).items() if name != "modality"
        }

    def to_uint8_display(self, x: Float[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """Decodes to levels stretched over 0..255, for image files and for eyes."""
        return self.stretch(self.decode(x))

    def stretch(self, levels: Shaped[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """Stored levels stretched over 0..255, as uint8; ValueError for floats, whose range would be a guess."""
        if self.levels is None:
            raise ValueError("continuous data (levels=None) has no grey levels to display")
        xp = levels.__array_namespace__()
        if not xp.isdtype(levels.dtype, "integral"):
            raise ValueError(f"stored levels are whole numbers, and these are {levels.dtype}; decode them first")
        return xp.round(levels * xp.float32(255 / (self.levels - 1))).astype(xp.uint8)

    def bins(self) -> tuple[tuple[float, float], float]:
        """The centres of the first and the last level's bin in x, and half the distance of two levels.

        The centre of level k is `encode`'s k / (L - 1), and of dequantised levels (k + 1/2) / L.
        """
        if self.levels is None:
            raise ValueError("continuous data (levels=None) has no grey levels")
        margin = 0.5 / self.levels if self.dequantization == "uniform" else 0.0
        low, high = (2 * y - 1 if self.centered else y for y in (margin, 1 - margin))
        return (low, high), 0.5 * (high - low) / (self.levels - 1)

    def display_scale(self) -> float:
        """How far apart, of 255, two pictures are shown (`stretch`) whose x differ by 1; 1 for continuous data."""
        if self.levels is None:
            return 1.0
        (low, high), _ = self.bins()
        return 255.0 / (high - low)

    def centres(self) -> Float[np.ndarray, " n"]:
        """The centres of all levels' bins in x, float64."""
        (low, _), half_bin = self.bins()
        return low + 2.0 * half_bin * np.arange(self.levels or 0)

    def bits_offset(self) -> float:
        """The c in bits/dim = -log2 p(x) / D + c, for a density p of encoded x in D dimensions.

        These bits bound the code length of the stored integers from above. A level is
        (2 if centered else 1) / L wide in x, so c = log2 L - log2 (2 if centered else 1); c = 0 for continuous data.
        """
        if self.levels is None:
            return 0.0
        if self.dequantization == "none":
            raise ValueError(
                "bits/dim of grey levels needs dequantization='uniform': without noise the data is a set of "
                "points, on which a density has no bound"
            )
        return math.log2(self.levels) - math.log2(2 if self.centered else 1)
