"""3x3 convolution of stride 1, with the derivative that suits the backend."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from models.materialize import materialized

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"], pad: int = 1) -> Float[Array, "b h2 w2 d"]:
    """Each pixel's 3x3 neighbourhood times the kernel, `pad` rings of zeros around the image; h2 = h + 2 pad - 2.

    On GPU and TPU XLA's convolution with its own derivatives. On CPU XLA takes two to three times as long for the
    kernel's gradient as for the convolution, because it contracts one pixel of all examples at a time; here a row of
    all examples is contracted at once, as a convolution along the columns. Images with fewer pixels than channels are
    one matrix product of their patches, whose derivatives need no copy of the kernel.
    """
    if jax.default_backend() != "cpu":
        return _convolve(x, kernel, pad)
    direct = _patch_product if math.prod(x.shape[:3]) <= kernel.shape[3] else _row_convolve
    return materialized(direct(materialized(x), kernel, pad))


def _convolve(x: Array, kernel: Array, pad: int) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=DIMENSIONS)


def _patch_product(x: Array, kernel: Array, pad: int) -> Array:
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    b, h, w = x.shape[0], padded.shape[1] - 2, padded.shape[2] - 2
    patches = jnp.stack([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=3)
    return (patches.reshape(b * h * w, -1) @ kernel.reshape(-1, kernel.shape[3])).reshape(b, h, w, -1)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _row_convolve(x: Array, kernel: Array, pad: int) -> Array:
    return _convolve(x, kernel, pad)


def _tangent(pad: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    out = _convolve(x, kernel, pad)
    tangent = jnp.zeros_like(out)
    if type(dx) is not jax.custom_derivatives.SymbolicZero:
        tangent += _convolve(dx, kernel, pad)
    if type(dkernel) is not jax.custom_derivatives.SymbolicZero:
        # Linear in dkernel, and written as the transpose of what reverse mode shall compute.
        gradient = partial(_kernel_gradient, x, pad=pad)
        tangent += jax.linear_transpose(gradient, jax.ShapeDtypeStruct(out.shape, out.dtype))(dkernel)[0]
    return out, tangent


_row_convolve.defjvp(_tangent, symbolic_zeros=True)


def _kernel_gradient(x: Array, g: Array, pad: int) -> Array:
    """sum_{b, y, x} x[b, y + i - pad, x + j - pad, c] g[b, y, x, d] for all (i, j, c, d).

    The narrower of both images is shifted by 0, 1 and 2 columns, all its rows made features of [3 c, rows]; the other
    is the kernel of a one-dimensional convolution over rows.
    """
    c, d = x.shape[3], g.shape[3]
    if c <= d or pad != 1:
        rows = _shifted_rows(x, (pad, pad))
        out = _along_columns(rows, g)  # [3 j, c, 3 i, d]
        return out.reshape(3, c, 3, d).transpose(2, 0, 1, 3)
    out = _along_columns(_shifted_rows(g, (1, 1)), x)
    return out.reshape(3, d, 3, c)[::-1, :, ::-1].transpose(2, 0, 3, 1)


def _shifted_rows(x: Array, padding: tuple[int, int]) -> Array:
    """[b, h, w, c] -> [3 c, rows, columns b]: the padded image from column 0, 1 and 2 on."""
    b, h, w, c = x.shape
    columns = materialized(x.transpose(3, 1, 2, 0).reshape(c, h, w * b))
    padded = jnp.pad(columns, ((0, 0), padding, (padding[0] * b, padding[1] * b)))
    width = (w + sum(padding) - 2) * b
    return jnp.concatenate([padded[:, :, j * b : j * b + width] for j in range(3)])


def _along_columns(rows: Array, g: Array) -> Array:
    b, h, w, d = g.shape
    kernel = g.transpose(1, 2, 0, 3).reshape(h, w * b, d)
    return lax.conv_general_dilated(rows, kernel, (1,), "VALID", dimension_numbers=("NHC", "HIO", "NHC"))
