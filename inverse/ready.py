"""Ready-made measurements, each with A^+ in closed form: mask, grey, downsample, blur, matrix."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from inverse.measurement import LinearMeasurement, Scale
from inverse.ranges import RANGES
from limits import check
from sde_lib.base import expand

REC601 = (0.299, 0.587, 0.114)
SMALLEST = 1e-2  # singular values of a blur below this share of the largest count as 0
register = jax.tree_util.register_dataclass


def _image(x: Array) -> tuple[int, int, int]:
    if x.ndim != 4:
        raise ValueError(f"measurement: x has shape {x.shape}; needed are images [b, height, width, channels]")
    _, height, width, channels = x.shape
    return height, width, channels


@functools.partial(register, data_fields=["known"], meta_fields=["noise"])
@dataclasses.dataclass(frozen=True, eq=False)
class Mask(LinearMeasurement):
    """Some numbers of the image: y has its shape, and is not looked at where unknown."""

    known: Any

    def _where(self, x: Array) -> Array:
        shape = tuple(self.known.shape)
        if shape == x.shape[1:]:
            return self.known
        if shape == x.shape[1:-1]:
            return self.known[..., None]
        if x.ndim == 4 and shape in (x.shape, (*x.shape[:-1], 1)):
            return self.known
        raise ValueError(
            f"mask: it has shape {shape} and x {x.shape}; needed is {x.shape[1:]}, or without channels, or {x.shape}, "
            "or that with one channel, where each example has its own"
        )

    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """x where known, else 0."""
        return jnp.where(self._where(x), x, 0.0)

    def adjoint(self, y: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """A is its own."""
        return self.apply(y)

    def solve(self, v: Float[Array, "b *d"], scale: Scale, floor: Scale) -> Float[Array, "b *d"]:
        """A A^T is 1 where known."""
        return self.apply(v) / expand(jnp.asarray(scale + floor), v)

    def residual(self, x: Float[Array, "b *d"], y: Float[Array, "n *m"]) -> Float[Array, "b *d"]:
        """y - x where known, else 0, whatever y is there."""
        self._check(x, y)
        return jnp.where(self._where(x), y - x, 0.0)

    def impose(self, x: Float[Array, "b *d"], y: Float[Array, "n *m"]) -> Float[Array, "b *d"]:
        """y where known, bit for bit, else x."""
        self._check(x, y)
        return jnp.where(self._where(x), y, x)


def mask(known: Any, *, noise: float = 0.0) -> Mask:
    """Inpainting: what is True of [height, width], of [height, width, channels], or of examples of any shape.

    Each image may have its own, of [b, height, width, 1] or [b, height, width, channels].

    Raises:
      ValueError: numbers instead of booleans (of which a 0 could mean either), or a negative noise.
    """
    known = jnp.asarray(known)
    if known.dtype != bool:
        raise ValueError(f"mask: its type is {known.dtype}; give booleans, True where the image is known")
    return Mask(known, noise=noise)


@functools.partial(register, data_fields=[], meta_fields=["coefficients", "noise"])
@dataclasses.dataclass(frozen=True, eq=False)
class Grey(LinearMeasurement):
    """A linear combination of the channels, [b, height, width, 1]."""

    coefficients: tuple[float, ...]

    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b *m"]:
        """sum_i c_i x_i."""
        if _image(x)[2] != len(self.coefficients):
            raise ValueError(f"grey: x has shape {x.shape}, and {len(self.coefficients)} channels have a coefficient")
        return jnp.sum(x * jnp.asarray(self.coefficients, x.dtype), axis=-1, keepdims=True)

    def adjoint(self, y: Float[Array, "b *m"]) -> Float[Array, "b *d"]:
        """c_i y."""
        return y * jnp.asarray(self.coefficients, y.dtype)

    def solve(self, v: Float[Array, "b *m"], scale: Scale, floor: Scale) -> Float[Array, "b *m"]:
        """A A^T is |c|^2."""
        return v / expand(jnp.asarray(scale * sum(c * c for c in self.coefficients) + floor), v)


def grey(coefficients: Sequence[float] = REC601, *, noise: float = 0.0) -> Grey:
    """Colourisation: the luma of Rec. 601, as in grey image files, or another linear combination of the channels.

    Raises:
      ValueError: coefficients that are all 0, or a negative noise.
    """
    if not any(coefficients):
        raise ValueError(f"grey: coefficients are {tuple(coefficients)}; at least one must differ from 0")
    return Grey(tuple(map(float, coefficients)), noise=noise)


@functools.partial(register, data_fields=[], meta_fields=["factor", "noise"])
@dataclasses.dataclass(frozen=True, eq=False)
class Downsample(LinearMeasurement):
    """Means of squares of factor x factor pixels, [b, height / factor, width / factor, channels]."""

    factor: int

    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b *m"]:
        """The means."""
        (height, width, c), f = _image(x), self.factor
        if height % f or width % f:
            raise ValueError(f"downsample: factor {f} does not divide images of {height} x {width}")
        return x.reshape(-1, height // f, f, width // f, f, c).mean((2, 4))

    def adjoint(self, y: Float[Array, "b *m"]) -> Float[Array, "b *d"]:
        """Each number spread over its square."""
        return jnp.repeat(jnp.repeat(y, self.factor, axis=1), self.factor, axis=2) / self.factor**2

    def solve(self, v: Float[Array, "b *m"], scale: Scale, floor: Scale) -> Float[Array, "b *m"]:
        """A A^T is 1 / factor^2."""
        return v / expand(jnp.asarray(scale / self.factor**2 + floor), v)


def downsample(factor: int, *, noise: float = 0.0) -> Downsample:
    """Super-resolution: box means.

    Raises:
      ValueError: a factor below 2, or a negative noise; on use, one that does not divide the image.
    """
    check("downsample: ", {"factor": factor}, RANGES)
    return Downsample(int(factor), noise=noise)


@functools.partial(register, data_fields=[], meta_fields=["std", "noise"])
@dataclasses.dataclass(frozen=True, eq=False)
class Blur(LinearMeasurement):
    """A Gaussian blur around the image's edges, diagonal in Fourier space; its waves fainter than 1 % are cut off."""

    std: float

    def _waves(self, x: Array) -> np.ndarray:
        """Singular values [height, width // 2 + 1, 1], those of `np.fft.rfft2`: exp(-2 (pi std f)^2)."""
        height, width, _ = _image(x)
        square = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None] ** 2
        values = np.exp(-2.0 * (math.pi * self.std) ** 2 * square)[..., None]
        return np.where(values < SMALLEST, 0.0, values)

    def _filter(self, x: Array, factor: Array) -> Array:
        waves = jnp.fft.rfft2(x, axes=(1, 2)) * factor
        return jnp.fft.irfft2(waves, x.shape[1:3], axes=(1, 2)).astype(x.dtype)

    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """The blurred image."""
        return self._filter(x, jnp.asarray(self._waves(x), x.dtype))

    def adjoint(self, y: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """A is its own."""
        return self.apply(y)

    def solve(self, v: Float[Array, "b *d"], scale: Scale, floor: Scale) -> Float[Array, "b *d"]:
        """Division by scale h^2 + floor; where h is cut off and floor 0, the answer has nothing."""
        h = jnp.asarray(self._waves(v), v.dtype)
        divisor = expand(jnp.asarray(scale), v) * h**2 + expand(jnp.asarray(floor), v)
        return self._filter(v, jnp.where(divisor > 0.0, 1.0 / jnp.where(divisor > 0.0, divisor, 1.0), 0.0))


def blur(std: float, *, noise: float = 0.0) -> Blur:
    """Deblurring: a circular Gaussian of that standard deviation, in pixels.

    Raises:
      ValueError: a deviation that is not positive, or a negative noise.
    """
    check("blur: ", {"std": std}, RANGES)
    return Blur(float(std), noise=noise)


@functools.partial(register, data_fields=["rows", "vectors", "values"], meta_fields=["shape", "noise"])
@dataclasses.dataclass(frozen=True, eq=False)
class Matrix(LinearMeasurement):
    """A as numbers [m, d], with A A^T = vectors diag(values) vectors^T."""

    rows: Any
    vectors: Any
    values: Any
    shape: tuple[int, ...]

    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b m"]:
        """A x, of examples laid out flat."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"matrix: x has shape {x.shape}; it takes [b, *{self.shape}]")
        return x.reshape(len(x), -1) @ jnp.asarray(self.rows, x.dtype).T

    def adjoint(self, y: Float[Array, "b m"]) -> Float[Array, "b *d"]:
        """A^T y."""
        return (y @ jnp.asarray(self.rows, y.dtype)).reshape(-1, *self.shape)

    def solve(self, v: Float[Array, "b m"], scale: Scale, floor: Scale) -> Float[Array, "b m"]:
        """In the basis of the eigenvectors; a value of 0 with floor 0 has nothing in the answer."""
        vectors, values = jnp.asarray(self.vectors, v.dtype), jnp.asarray(self.values, v.dtype)
        divisor = expand(jnp.asarray(scale), v) * values + expand(jnp.asarray(floor), v)
        inverse = jnp.where(divisor > 0.0, 1.0 / jnp.where(divisor > 0.0, divisor, 1.0), 0.0)
        return ((v @ vectors) * inverse) @ vectors.T


def matrix(rows: Any, shape: tuple[int, ...] | None = None, *, noise: float = 0.0) -> Matrix:
    """Any matrix [m, d] on examples of that shape, laid out flat; by default vectors [d].

    Singular values below 1e-5 of the largest count as 0, so that rows may depend on each other.

    Raises:
      ValueError: not a matrix, another number of columns than the examples have numbers, or a negative noise.
    """
    rows = np.asarray(rows, np.float64)
    shape = rows.shape[1:] if shape is None else tuple(shape)
    if rows.ndim != 2 or rows.shape[1] != math.prod(shape):
        raise ValueError(f"matrix: it has shape {rows.shape}; needed is [m, {math.prod(shape)}], for x [b, *{shape}]")
    values, vectors = np.linalg.eigh(rows @ rows.T)
    values = np.where(values > 1e-10 * values.max(), values, 0.0)
    return Matrix(rows, vectors, values, shape, noise=noise)
