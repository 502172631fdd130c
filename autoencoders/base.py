"""What a codec is."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Key, Shaped

from autoencoders.grey_levels import AnyArray, GreyLevels


@runtime_checkable
class Codec(Protocol):
    """The map between stored data and x, the space of the model.

    Training, samplers and likelihoods see x alone; pictures, files and Frechet distances see decoded data alone.
    """

    @property
    def levels(self) -> int | None:
        """How many grey levels x has; None where it is continuous."""

    @property
    def centered(self) -> bool:
        """Whether x lies around 0 rather than in [0, 1]."""

    @property
    def pictures(self) -> GreyLevels:
        """The codec between stored data and their own floats, which `reconstruct` gives."""

    @property
    def field(self) -> str:
        """The name in a record of what `encode` takes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example's x, which need not be that of the stored data."""

    @property
    def information(self) -> tuple[str, float]:
        """The unit in which -log p(x) is reported, for each number of x, and how many of it a bit is."""

    def encode(self, data: Shaped[AnyArray, "b *d"], keys: Key[Array, " b"] | None = None) -> Float[AnyArray, "b *x"]:
        """The x of a record's field; a codec that draws random numbers takes those of example i from keys[i]."""

    def of_pictures(self, y: Float[AnyArray, "b *d"]) -> Float[AnyArray, "b *x"]:
        """The x of floats of `pictures`, without anything random; at the host."""

    def reconstruct(self, x: Float[AnyArray, "b *x"]) -> Float[AnyArray, "b *d"]:
        """The floats of `pictures` that x stands for; work for the devices is begun, and not waited for."""

    def decode(self, x: Float[AnyArray, "*x"]) -> Shaped[AnyArray, "*d"]:
        """The data of x, as they are stored."""

    def stretch(self, levels: Shaped[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """Stored levels stretched over 0..255, as uint8; ValueError for floats, whose range would be a guess."""

    def to_uint8_display(self, x: Float[AnyArray, "*x"]) -> Shaped[AnyArray, "*d"]:
        """The data of x stretched over 0..255, for image files and for eyes."""

    def bare(self) -> GreyLevels:
        """The codec of records that hold x itself under this one's field."""

    def bits_offset(self) -> float:
        """The c in bits/dim = -log2 p(x) / D + c; a ValueError where a density of x says nothing of the data."""

    def about(self) -> dict[str, Any]:
        """All that x depends on besides the stored data, as plain parts."""
