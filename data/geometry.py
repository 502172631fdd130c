"""EDM's augmentation: random flips, scale, rotation, stretch and shift, with labels that tell the network of them.

A network that is told what was done to an image (its nine labels) learns the plain images as those of labels zero, so
that the augmentation does not leak into samples (Karras et al. 2022, arXiv:2206.00364, App. F.2). An image is flipped
first, then resampled once, at p -> M p for its affine map of the plane about the image's centre:

    M = S(2^(-scale_std w)) R(theta) [ R(-phi) diag(2^(-aniso_std a), 2^(aniso_std a)) R(phi) ] T(-shift_std size u).

The resampling doubles the resolution with the sym6 wavelet's filter (Karras et al. 2020, arXiv:2006.06676, App. B),
interpolates linearly and halves it with the same filter: orthonormal, so that whole-pixel shifts lose nothing. Beyond
its border an image goes on as its reflection, on each side as far as it has pixels but one, and beyond those as 0.
Published code reflects as far as the most transformed image of its batch needs: farther or less far, it is the same
wherever an output's filter stays inside, and here no example depends on the others of its batch. The filter is not
quite symmetric: turned by 180 degrees, an image lies 0.1 pixels off, in the published pipeline too.

An image need not be square: points are measured in pixels along both axes, so that turning one does not stretch it.
There are no turns by exactly 90 degrees, which would exchange its height and its width.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

LABELS = 9
SCALE_STD = 0.2  # log2
ANISO_STD = 0.2  # log2
SHIFT_STD = 0.125  # of the image's width or height
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
MARGIN = len(SYM6) // 4  # pixels beyond each border that the last filter reaches


class Transform(NamedTuple):
    """What is done to each image; all zero leaves it as it is."""

    xflip: Float[Array, " b"]
    yflip: Float[Array, " b"]
    scale: Float[Array, " b"]
    angle: Float[Array, " b"]
    stretch: Float[Array, " b"]
    axis: Float[Array, " b"]
    shift: Float[Array, "b 2"]

    def labels(self) -> Float[Array, "b 9"]:
        """xflip, yflip, scale, cos angle - 1, sin angle, stretch (cos, sin) of its axis, shift (x, y)."""
        along = self.stretch * jnp.cos(self.axis), self.stretch * jnp.sin(self.axis)
        turned = jnp.cos(self.angle) - 1.0, jnp.sin(self.angle)
        columns = (self.xflip, self.yflip, self.scale, *turned, *along, self.shift[:, 0], self.shift[:, 1])
        return jnp.stack(columns, axis=1)


def augment(
    keys: Key[Array, " b"], x: Float[Array, "b h w c"], probability: float | Float[Array, ""]
) -> tuple[Float[Array, "b h w c"], Float[Array, "b 9"]]:
    """Each image transformed by its own key, and its labels; 0 stands for grey beyond the reflections.

    The mirror image is taken half the time; each of the others happens with `probability` (CIFAR-10: 0.12), but for
    the vertical mirror image, half as often. Half of the stretches are along x or y, the others along any axis.
    """
    transform = draw(keys, probability)
    return apply(x, transform), transform.labels()


def draw(keys: Key[Array, " b"], probability: float | Float[Array, ""]) -> Transform:
    """The transform of each key."""

    def one(key: Array) -> Transform:
        happens, coins, normals, angles = jax.random.split(key, 4)
        happen = jax.random.bernoulli(happens, probability, (5,)).astype(float)
        xflip, yflip, rotated = jax.random.bernoulli(coins, 0.5, (3,)).astype(float)
        scale, stretch, *shift = jax.random.normal(normals, (4,))
        angle, axis = jax.random.uniform(angles, (2,), minval=-jnp.pi, maxval=jnp.pi)
        return Transform(
            xflip=xflip,
            yflip=happen[0] * yflip,
            scale=happen[1] * scale,
            angle=happen[2] * angle,
            stretch=happen[3] * stretch,
            axis=rotated * axis,
            shift=happen[4] * jnp.stack(shift),
        )

    return jax.vmap(one)(keys)


def apply(x: Float[Array, "b h w c"], transform: Transform) -> Float[Array, "b h w c"]:
    """The images, transformed; one whose transform is zero comes back bit for bit."""
    for axis, flips in ((2, transform.xflip), (1, transform.yflip)):
        x = jnp.where(flips[:, None, None, None] > 0.0, jnp.flip(x, axis), x)
    t = transform
    moved = (t.scale != 0.0) | (t.angle != 0.0) | (t.stretch != 0.0) | (t.shift != 0.0).any(axis=1)
    linear, offset = _source_of(transform, x.shape[1], x.shape[2])
    return jnp.where(moved[:, None, None, None], jax.vmap(_resample)(x, linear, offset), x)


def _source_of(t: Transform, height: int, width: int) -> tuple[Float[Array, "b 2 2"], Float[Array, "b 2"]]:
    """(A, c): the point p of an output shows the point A p + c of its input; (x, y) in pixels from the centre."""

    def rotation(angle: Array) -> Array:
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)

    widths = jnp.exp2(-ANISO_STD * t.stretch[:, None] * jnp.array([1.0, -1.0]))
    stretched = (rotation(-t.axis) * widths[:, None, :]) @ rotation(t.axis)
    linear = jnp.exp2(-SCALE_STD * t.scale)[:, None, None] * (rotation(t.angle) @ stretched)
    shift = SHIFT_STD * t.shift * jnp.array([width, height], float)
    return linear, -jnp.einsum("bij,bj->bi", linear, shift)


def _resample(x: Float[Array, "h w c"], linear: Float[Array, "2 2"], offset: Float[Array, " 2"]) -> Array:
    """One image seen through its map, at twice the resolution and back."""
    h, w, _ = x.shape
    product = functools.partial(jnp.einsum, precision="highest")
    up = [jnp.asarray(_refine(n), x.dtype) for n in (h, w)]
    down = [jnp.asarray(_coarsen(n), x.dtype) for n in (h, w)]
    fine = product("ph,qw,hwc->pqc", *up, x)
    # Pixel m lies at sample 2 m of the fine grids, half a sample before the centre of its two.
    rows, columns = (jnp.arange(2 * (n + 2 * MARGIN)) - (n + 2 * MARGIN) + 1.0 for n in (h, w))
    py, px = jnp.meshgrid(rows / 2.0, columns / 2.0, indexing="ij")
    sx = linear[0, 0] * px + linear[0, 1] * py + offset[0]
    sy = linear[1, 0] * px + linear[1, 1] * py + offset[1]
    at = [2.0 * s - 1.0 + n / 2.0 for s, n in zip((sy, sx), fine.shape, strict=False)]
    seen = jax.vmap(lambda channel: map_coordinates(channel, at, order=1), -1, -1)(fine)
    return product("hp,wq,pqc->hwc", *down, seen)


@functools.cache
def _refine(n: int) -> np.ndarray:
    """[2 (3 n - 2), n]: n pixels and their reflections at twice the resolution; fine[i] = sum_m x[m] h[i - 2 m + 5]."""
    padded = 3 * n - 2
    reflection = np.eye(n)[np.pad(np.arange(n), n - 1, mode="reflect")] if n > 1 else np.eye(1)
    return _coarsening(padded, 2 * padded).T @ reflection


@functools.cache
def _coarsen(n: int) -> np.ndarray:
    """[n, 2 (n + 2 MARGIN)]: the n pixels in the middle of a fine grid; x[m] = sum_i fine[i] h[i - 2 m + 5]."""
    return _coarsening(n + 2 * MARGIN, 2 * (n + 2 * MARGIN))[MARGIN:-MARGIN]


def _coarsening(pixels: int, samples: int) -> np.ndarray:
    """[pixels, samples]: h, an orthonormal filter, around every second sample."""
    matrix = np.zeros((pixels, samples))
    for pixel in range(pixels):
        for tap, value in enumerate(SYM6):
            sample = 2 * pixel + tap - (len(SYM6) // 2 - 1)
            if 0 <= sample < samples:
                matrix[pixel, sample] = value
    return matrix
