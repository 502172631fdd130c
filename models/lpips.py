"""LPIPS, the perceptual distance of two images (Zhang et al. 2018, arXiv:1801.03924, eq. 1), version 0.1 with VGG16.

    d(x, y) = sum_l  mean over positions of  w_l . (phi_l(x) - phi_l(y))^2

phi_l are the features of stage l of VGG16, divided by their norm over the channels, and w_l >= 0 the learned heads.

Two published traps are avoided. The authors' module drops half of the squared differences ahead of the heads while it
is in training mode, and latent diffusion trains with that, since a later ``model.train()`` undoes the constructor's
``.eval()``: distances then jitter by 1 to 3 %. Here nothing is dropped. And where all features of a position are 0, the
derivative of their norm is 0 / 0 there; here it is 0.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from models.vgg16 import STAGES, Weights, taps

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""What images in [-1, 1] are normalised by, (x - shift) / scale, as the package does."""
EPSILON = 1e-10
"""What is added to the norm of the features."""


def head(stage: int) -> str:
    """Return the name of the head of a stage among the weights; it has one number for each channel."""
    return f"head.{stage}"


def distance(weights: Weights, x: Float[Array, "b h w c"], y: Float[Array, "b h w c"]) -> Float[Array, " b"]:
    """Return the distance of each pair of images in [-1, 1], whose channels are 3, or 1 that stands for all three.

    `weights` are those of VGG16 and the five heads (`checkpoints.perceptual.load`).
    """
    return jnp.sum(by_stage(weights, x, y), axis=0)


def by_stage(weights: Weights, x: Float[Array, "b h w c"], y: Float[Array, "b h w c"]) -> Float[Array, "5 b"]:
    """Return what each stage adds to the distance."""
    found = []
    for stage, (of_x, of_y) in enumerate(zip(features(weights, x), features(weights, y), strict=True)):
        squares = jnp.square(normalised(of_x) - normalised(of_y))
        found.append(jnp.mean(squares @ weights[head(stage)].astype(squares.dtype), axis=(1, 2)))
    return jnp.stack(found)


def features(weights: Weights, x: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ _"]]:
    """Return the features of images in [-1, 1] at each stage, before they are divided by their norms."""
    return taps(weights, (x - jnp.asarray(SHIFT, x.dtype)) / jnp.asarray(SCALE, x.dtype))


def normalised(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Return the features over their norm at each position."""
    squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    zero = squared == 0.0
    return x / (jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared))) + EPSILON)


def heads_from_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the heads of tensors named as in the published files, ``lin0.model.1.weight`` [1, channels, 1, 1].

    Raises:
      ValueError: a tensor is missing or has another shape.
    """
    found = {}
    for stage, widths in enumerate(STAGES):
        name, shape = f"lin{stage}.model.1.weight", (1, widths[-1], 1, 1)
        given = np.shape(tensors[name]) if name in tensors else "absent"
        if given != shape:
            raise ValueError(f"these are not the heads of LPIPS with VGG16: {name} is {given}, and must be {shape}")
        found[head(stage)] = np.asarray(tensors[name], np.float32).reshape(-1)
    return found
