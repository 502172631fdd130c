"""The discriminator of patches that autoencoders are trained against (Isola et al. 2017, arXiv:1611.07004)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import check_known
from models.checks import check_options
from models.embeddings import Fixed
from models.layers import Keys

Image = Float[Array, "b h w c"]
Named = dict[str, Array]

MOMENTUM = 0.1  # share of a batch in the running statistics, in PyTorch's sense of the word
EPSILON = 1e-5  # of batch norm
STD = 0.02  # of initial weights; without a norm they keep the size of what goes through (He et al. 2015)
SLOPE = 0.2  # of the leaky nonlinearity


class BatchNorm(nnx.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over examples and places, statistics in at least float32.

    A batch is divided by its biased deviation, and the running variance takes in the unbiased one, as in PyTorch.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs | Keys):
        self.scale = nnx.Param(1 + STD * jax.random.normal(rngs.params(), (channels,)))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean, self.variance = Fixed(jnp.zeros(channels)), Fixed(jnp.ones(channels))

    def __call__(self, x: Image) -> Image:
        """Normalise by the running statistics."""
        return self._normalised(x, self.mean[...], self.variance[...])

    def of_batch(self, x: Image, axis: str | None = None) -> tuple[Image, Named]:
        """Normalise by the batch's own statistics, over all devices of an axis; and what the running ones become."""
        mean, variance, count = _moments(x, axis)
        unbiased = variance * (count / max(count - 1, 1))
        running = {
            "mean": (1 - MOMENTUM) * self.mean[...] + MOMENTUM * mean,
            "variance": (1 - MOMENTUM) * self.variance[...] + MOMENTUM * unbiased,
        }
        return self._normalised(x, mean, variance), jax.lax.stop_gradient(running)

    def _normalised(self, x: Array, mean: Array, variance: Array) -> Array:
        slope = self.scale[...] * jax.lax.rsqrt(variance + EPSILON)
        return (x.astype(slope.dtype) * slope + (self.bias[...] - mean * slope)).astype(x.dtype)


class ActNorm(nnx.Module):
    """Scale and shift of each channel (Kingma and Dhariwal 2018), trained from those that a batch asks for."""

    def __init__(self, channels: int):
        self.loc, self.scale = nnx.Param(jnp.zeros(channels)), nnx.Param(jnp.ones(channels))

    def __call__(self, x: Image) -> Image:
        """(x + loc) scale."""
        return _shifted(x, self.loc[...], self.scale[...])

    def of_batch(self, x: Image, axis: str | None = None) -> tuple[Image, Named]:
        """With the loc and scale that give the batch, over all devices of an axis, mean 0 and deviation 1; and both."""
        mean, variance, count = _moments(x, axis)
        loc, scale = -mean, 1 / (jnp.sqrt(variance * (count / max(count - 1, 1))) + 1e-6)
        return _shifted(x, loc, scale), {"loc": loc, "scale": scale}


class NoNorm(nnx.Module):
    """What stands in the place of a norm where there is none, so that no example depends on the others of a batch."""

    def __call__(self, x: Image) -> Image:
        """x as it is."""
        return x


def _moments(x: Array, axis: str | None) -> tuple[Array, Array, int]:
    """Mean and biased variance of each channel in at least float32, and of how many numbers they are."""
    z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    count = z.size // z.shape[-1]
    if axis is None:
        return z.mean((0, 1, 2)), z.var((0, 1, 2)), count
    mean = jax.lax.pmean(z.mean((0, 1, 2)), axis)
    variance = jax.lax.pmean(jnp.square(z - mean).mean((0, 1, 2)), axis)
    return mean, variance, count * jax.lax.axis_size(axis)


def _shifted(x: Array, loc: Array, scale: Array) -> Array:
    return ((x.astype(scale.dtype) + loc) * scale).astype(x.dtype)


class PatchDiscriminator(nnx.Module):
    """Convolutions of 4x4 pixels: one logit for each patch of an image, above 0 for what it takes to be data.

    `num_layers` convolutions halve the image, two more keep its size but for a pixel; channels double up to 8 times
    the first. With 3 layers a logit sees 70 x 70 pixels, and 256 x 256 pixels have 30 x 30 logits. With 64 channels,
    3 layers and batch norm it has the published 2,765,633 parameters, beside the running statistics.

    A call of the network normalises as in evaluation. In training the loss calls `in_training` and, at the very
    beginning of a training with actnorm, `data_initialized`.

    Args:
      num_channels: of the images, which are in [-1, 1].
      num_layers, nf: convolutions that halve (n_layers), and channels of the first (ndf).
      norm: "batch", "act" (use_actnorm) or "none", of all layers but the first and the last.
      dtype: of the computation; None: that of inputs and parameters. The logits are at least float32.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        num_layers: int = 3,
        nf: int = 64,
        norm: str = "batch",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_known("norm", norm, ("batch", "act", "none"))
        widths = [nf * min(2**layer, 8) for layer in range(num_layers + 1)]
        kernel_init = nnx.initializers.he_normal() if norm == "none" else nnx.initializers.normal(STD)
        self.convs: nnx.List = nnx.List()
        for layer, (c_in, c_out) in enumerate(zip([num_channels, *widths], [*widths, 1], strict=True)):
            normalised = 0 < layer <= num_layers
            self.convs.append(
                nnx.Conv(
                    c_in,
                    c_out,
                    (4, 4),
                    2 if layer < num_layers else 1,
                    padding=((1, 1), (1, 1)),
                    use_bias=not normalised or norm != "batch",  # which has one of its own
                    kernel_init=kernel_init,
                    dtype=dtype,
                    rngs=rngs,  # type: ignore[arg-type]  # Keys stands in for it
                )
            )
        make = {"batch": lambda c: BatchNorm(c, rngs=rngs), "act": ActNorm, "none": lambda c: NoNorm()}[norm]
        self.norms = nnx.List([make(c) for c in widths[1:]])
        self.num_channels, self.norm = num_channels, norm

    def __call__(
        self,
        x: Image,
        c_noise: Num[Array, " b"] | None = None,
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h2 w2"]:
        """The logits with the running statistics; it has no dropout, and is told neither noise nor condition."""
        return self._logits(x, of_batch=False)[0]

    def in_training(self, x: Image, *, axis: str | None = None) -> tuple[Float[Array, "b h2 w2"], Named]:
        """The logits with the statistics of the batch, and what the running ones become.

        The batch is that of all devices together where `axis` names their axis (`jax.pmap`).
        The latter are the whole collection "fixed" of the network's variables; it is empty with the others.
        """
        return self._logits(x, of_batch=self.norm == "batch", axis=axis)

    def data_initialized(self, x: Image, *, axis: str | None = None) -> tuple[Float[Array, "b h2 w2"], Named]:
        """The logits behind an actnorm that the batch initialises layer by layer, and the parameters that it gives.

        `axis` is that of `in_training`.
        These are to replace those of the same names among "params". Raises ValueError for batch norm.
        """
        if self.norm != "act":
            raise ValueError(f"norm is {self.norm!r}; only 'act' is initialised by data")
        return self._logits(x, of_batch=True, axis=axis)

    def _logits(self, x: Array, *, of_batch: bool, axis: str | None = None) -> tuple[Array, Named]:
        least = 3 * 2 ** len(self.norms)
        if x.shape[3] != self.num_channels or min(x.shape[1:3]) < least:
            raise ValueError(
                f"this discriminator takes images [height, width, {self.num_channels}] of at least {least} pixels "
                f"a side, received {x.shape[1:]}; one of fewer layers takes smaller ones"
            )
        h, found = x, dict[str, Array]()
        for layer, conv in enumerate(self.convs):
            h = conv(h)
            if 0 < layer <= len(self.norms):
                norm: Any = self.norms[layer - 1]
                h, own = norm.of_batch(h, axis) if of_batch else (norm(h), {})
                found |= {f"norms.{layer - 1}.{name}": value for name, value in own.items()}
            if layer <= len(self.norms):
                h = jax.nn.leaky_relu(h, SLOPE)
        return h[..., 0].astype(jnp.promote_types(h.dtype, jnp.float32)), found
