"""The autoencoder of a run at the host: pictures to what its encoder says of them and back, batch by batch."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from autoencoders.grey_levels import AnyArray
from autoencoders.tiles import decode_tiled
from experiment.placing import on_devices, on_each
from experiment.weights import fingerprint
from models.functional import Network, Variables
from models.materialize import network_jit

PIXELS = 2**20
"""How many pixels a device takes at once: the activations of a wide decoder are some hundred numbers a pixel."""


@dataclasses.dataclass(frozen=True, eq=False)
class RunAutoencoder:
    """An autoencoder, an `autoencoders.Autoencoder`, whose weights are read when they are first needed.

    Attributes:
      network: one of `models.AUTOENCODERS`.
      weights: reads its variables.
      picture: the shape of a picture, (H, W, C), which need not be of the size that it was trained on.
      tile: how many latents a side are decoded at once (`autoencoders.tiles`); 0: all.
    """

    network: Network
    weights: Callable[[], Variables]
    picture: tuple[int, int, int]
    tile: int = 0
    _one: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)
    _placed: dict[bool, Variables] = dataclasses.field(default_factory=dict, repr=False)

    @functools.cached_property
    def variables(self) -> Variables:
        """Its weights."""
        return self.weights()

    @functools.cached_property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a picture's latents; ValueError where the encoder does not take such pictures."""
        return *self._encoded[:2], cast(Any, self.network.module(self.network.abstract())).embed_dim

    def of_picture(self, shape: tuple[int, int, int]) -> "RunAutoencoder":
        """The same of pictures of another shape; the weights are read once for both."""
        return dataclasses.replace(self, weights=lambda: self.variables, picture=shape)

    @property
    def has_posterior(self) -> bool:
        """Whether its encoder gives the moments of a posterior, mean and log-variance of each number."""
        return self._encoded[2] == 2 * self.shape[2]

    @functools.cached_property
    def _encoded(self) -> tuple[int, int, int]:
        """The shape of what the encoder says of a picture."""
        pictures = jax.ShapeDtypeStruct((1, *self.picture), np.float32)
        _, h, w, c = jax.eval_shape(self._encode, self.network.abstract(), pictures).shape
        return h, w, c

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of its weights, with their names."""
        return fingerprint(self.variables)

    def about(self) -> dict[str, Any]:
        """Its network and its weights, and of what pictures it is."""
        return {
            "network": self.network.name,
            "options": dict(self.network.options),
            "weights": self.digest,
            "picture": self.picture,
        }

    def encode(self, pictures: Float[AnyArray, "b H W C"]) -> Float[np.ndarray, "b h w e"]:
        """What the encoder says of pictures in [-1, 1]; several threads take turns."""
        with self._one:
            return np.concatenate([np.asarray(part) for part in self._parts(self._encoding, pictures)])

    def decode(self, z: Float[AnyArray, "b h w c"]) -> Float[Array, "b H W C"]:
        """The pictures of latents, begun and not waited for."""
        parts = list(self._parts(self._decoding, z))
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts)

    def _parts(self, function: Callable[..., Array], rows: Any) -> Iterator[Array]:
        """Yield what the function makes of some rows at a time, spread over the devices where they divide them."""
        most = max(1, PIXELS // (self.picture[0] * self.picture[1])) * jax.local_device_count()
        for first in range(0, len(rows), most):
            part = rows[first : first + most]
            spread = len(part) % jax.local_device_count() == 0
            if spread not in self._placed:  # copied to the devices once
                self._placed[spread] = on_each(self.variables, len(part))
            yield function(self._placed[spread], on_devices(part))

    def _encode(self, variables: Variables, pictures: Array) -> Array:
        return cast(Any, self.network.module(variables)).encode(pictures)

    def _decode(self, variables: Variables, z: Array) -> Array:
        decode = cast(Any, self.network.module(variables)).decode
        return decode_tiled(decode, z, self.tile) if self.tile else decode(z)

    @functools.cached_property
    def _encoding(self) -> Callable[..., Array]:
        return network_jit(self._encode, self.network.dtype)

    @functools.cached_property
    def _decoding(self) -> Callable[..., Array]:
        return network_jit(self._decode, self.network.dtype)
