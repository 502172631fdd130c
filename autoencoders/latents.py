"""The codec of latents: what an autoencoder makes of a picture, moved and scaled to about unit variance.

    z ~ q(z | picture),    x = (z - shift) * scale

(Rombach et al. 2022, arXiv:2112.10752, sec. 3.2 and app. G). A record of a data set holds a picture, and the training
of a model of x is given its moments under q, `FIELD`, which an encoder has computed ahead (`experiment.encoded`): so
the posterior is sampled anew at each step, and no weights of the autoencoder lie in the training step. Of one without
a posterior (VQ) the field holds z itself, before it is quantised.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped

from autoencoders.grey_levels import AnyArray, GreyLevels
from autoencoders.posterior import Posterior

FIELD = "encoded"
"""The name in a record of what the encoder says of its picture, [h, w, 2 c] moments or [h, w, c] latents."""
MIRRORED = "mirrored"
"""The name in a record of the same of the picture's mirror image."""


@runtime_checkable
class Autoencoder(Protocol):
    """An autoencoder with its weights, as the host uses it: batch by batch, over all local devices."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a picture's latents, (h, w, c)."""

    @property
    def has_posterior(self) -> bool:
        """Whether `encode` gives the moments of a posterior, and not latents."""

    @property
    def tile(self) -> int:
        """How many latents a side are decoded at once (`autoencoders.tiles`); 0: all."""

    def encode(self, pictures: Float[AnyArray, "b H W C"]) -> Float[np.ndarray, "b h w e"]:
        """What the encoder says of pictures in [-1, 1]: moments [b, h, w, 2 c], or latents [b, h, w, c]."""

    def decode(self, z: Float[AnyArray, "b h w c"]) -> Float[Array, "b H W C"]:
        """The pictures of latents, begun and not waited for."""

    def about(self) -> dict[str, Any]:
        """All that its answers depend on, as plain parts: its network and the SHA-256 of its weights."""


@dataclasses.dataclass(frozen=True, eq=False)
class Latents:
    """The codec of an autoencoder's latents.

    Attributes:
      pictures: the codec between stored pictures and the autoencoder's in- and outputs.
      autoencoder: encodes and decodes.
      scale, shift: those of x = (z - shift) * scale, a number or one for each channel; None where they are not known
        yet (`experiment.latents.measured`).
    """

    pictures: GreyLevels
    autoencoder: Autoencoder
    scale: float | Sequence[float] | None = 1.0
    shift: float | Sequence[float] | None = 0.0

    levels: ClassVar[int | None] = None
    centered: ClassVar[bool] = True
    field: ClassVar[str] = FIELD
    information: ClassVar[tuple[str, float]] = ("nats per latent dimension", math.log(2.0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one example's x, (h, w, c)."""
        return self.autoencoder.shape

    def encode(self, data: Float[AnyArray, "b h w e"], keys: Key[Array, " b"] | None = None) -> Float[Array, "b h w c"]:
        """The x of what the encoder says; a posterior is sampled with the key of each example, without one its mean."""
        data = jnp.asarray(data, jnp.float32)
        z: Any
        if self.autoencoder.has_posterior:
            posterior = Posterior.of_moments(data)
            z = posterior.mean
            if keys is not None:
                z = posterior.sample(jax.vmap(lambda key: jax.random.normal(key, self.shape))(keys))
        else:
            z = data
        return (z - jnp.asarray(self.shift)) * jnp.asarray(self.scale)

    def of_pictures(self, y: Float[AnyArray, "b H W C"]) -> Float[np.ndarray, "b h w c"]:
        """The x of pictures in [-1, 1], at the mean of the posterior."""
        return np.asarray(self.encode(self.autoencoder.encode(y)))

    def reconstruct(self, x: Float[AnyArray, "b h w c"]) -> Float[Array, "b H W C"]:
        """The pictures of x in [-1, 1], and beyond where the decoder goes there."""
        return self.autoencoder.decode(x / np.asarray(self.scale, np.float32) + np.asarray(self.shift, np.float32))

    def decode(self, x: Float[AnyArray, "*x"]) -> Shaped[np.ndarray, "*d"]:
        """The levels (uint8) of the pictures of x."""
        flat = x.reshape(-1, *self.shape)
        levels = np.asarray(self.pictures.decode(np.asarray(self.reconstruct(flat))))
        return levels.reshape(*x.shape[: x.ndim - 3], *levels.shape[1:])

    def stretch(self, levels: Shaped[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """Stored levels stretched over 0..255, as uint8."""
        return self.pictures.stretch(levels)

    def to_uint8_display(self, x: Float[AnyArray, "*x"]) -> Shaped[AnyArray, "*d"]:
        """The pictures of x stretched over 0..255, for image files and for eyes."""
        return self.stretch(self.decode(x))

    def bare(self) -> GreyLevels:
        """The codec of records that hold x itself."""
        return GreyLevels(None, self.centered, "none", self.shape, self.field)

    def bits_offset(self) -> float:
        """It has none.

        Raises:
          ValueError: always; a density of latents says nothing of pictures.
        """
        raise ValueError(
            "a density of latents has no bits/dim of pixels: the encoder is no bijection, and what the decoder does "
            "not restore is counted by nothing; --mode=evaluate gives nats per latent dimension"
        )

    def about(self) -> dict[str, Any]:
        """The kind, the autoencoder's own, how it decodes, the pictures' codec, scale and shift."""
        named = {"pictures": self.pictures.about(), "autoencoder": self.autoencoder.about()}
        of_x = {"scale": self.scale, "shift": self.shift}
        return {"kind": type(self).__name__, **named, **of_x, "tile": self.autoencoder.tile}


def of_one_space(a: Any, b: Any) -> bool:
    """Whether an x of one codec is one of the other: both of pictures themselves, or of the very same latents."""
    latents = [isinstance(codec, Latents) for codec in (a, b)]
    return {**a.about(), "tile": 0} == {**b.about(), "tile": 0} if all(latents) else not any(latents)
