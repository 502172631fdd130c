"""The convolutional part of VGG16 (Simonyan and Zisserman 2015, arXiv:1409.1556, configuration D), as it was published.

Its weights are not trained here. They come from the user's file (`checkpoints.perceptual`), and what is used of them is
how far apart two images are at five depths (`models.lpips`).
"""

import functools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from models.convolution import convolve

STAGES = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
"""The channels of the convolutions of each stage; a maximum over 2 x 2 pixels lies between two stages."""
LEAST_SIDE = 2 ** (len(STAGES) - 1)
"""Images of fewer pixels on a side have nothing left at the last stage."""

Weights = dict[str, Array]
"""The kernels [3, 3, in, out] and biases [out] by names such as "features.0.kernel", numbered as in torchvision."""


def _convolutions() -> Iterator[tuple[int, str, int]]:
    """Yield the stage, the name and the channels of each convolution; ReLUs and maxima are counted in the names."""
    place = 0
    for stage, widths in enumerate(STAGES):
        for channels in widths:
            yield stage, f"features.{place}", channels
            place += 2
        place += 1


def layout() -> dict[str, tuple[int, ...]]:
    """Return the shapes of torchvision's tensors by their names in its file."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for _, name, width in _convolutions():
        shapes |= {f"{name}.weight": (width, channels, 3, 3), f"{name}.bias": (width,)}
        channels = width
    return shapes


def from_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the `Weights`, as NumPy arrays, of tensors named as in torchvision's file, whose classifier is left out.

    Raises:
      ValueError: a tensor is missing or has another shape.
    """
    weights = {}
    for name, shape in layout().items():
        found = np.shape(tensors[name]) if name in tensors else "absent"
        if found != shape:
            raise ValueError(f"these are not the weights of VGG16: {name} is {found}, and must be of shape {shape}")
        array = np.asarray(tensors[name], np.float32)
        kernel = array.ndim == 4
        weights[name.replace(".weight", ".kernel")] = array.transpose(2, 3, 1, 0) if kernel else array
    return weights


def taps(weights: Weights, x: Float[Array, "b h w 3"]) -> list[Float[Array, "b _ _ _"]]:
    """Return what each stage ends with: relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of images that are normalised.

    Sides are halved from stage to stage, rounded down, so an image needs `LEAST_SIDE` pixels on each.
    """
    found: list[Array] = []
    for stage, name, _ in _convolutions():
        if stage > len(found):
            found.append(x)
            x = _halved(x)
        kernel, bias = (weights[f"{name}.{part}"].astype(x.dtype) for part in ("kernel", "bias"))
        x = jax.nn.relu(convolve(x, kernel) + bias)
    return [*found, x]


def _halved(x: Array) -> Array:
    """Return the maxima over 2 x 2 pixels. `jnp.maximum` has a gradient that does not ask which numbers are equal."""
    for axis in (1, 2):
        last = x.shape[axis] // 2 * 2
        x = functools.reduce(jnp.maximum, [lax.slice_in_dim(x, i, last, 2, axis) for i in range(2)])
    return x
