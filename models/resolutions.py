"""What each resolution of a network is: how large its images are, and how many channels they have.

Images need not be square. A level of one is named, and attends, by its shorter side, so that (32, 48) attends where an
image of 32 x 32 does; both sides are halved together, so both must be divisible.
"""

from collections.abc import Sequence

from limits import Sides, sides


def level_widths(nf: int, ch_mult: Sequence[int], channels: Sequence[int]) -> tuple[int, ...]:
    """The channels at each level: nf times ch_mult, or `channels` as they are; ValueError where both are given."""
    if channels and ch_mult:
        raise ValueError(
            f"channels={tuple(channels)} and ch_mult={tuple(ch_mult)} both say how wide each level is: give one of "
            "them, and () for the other"
        )
    return tuple(channels) or tuple(nf * multiple for multiple in ch_mult)


def shorter_sides(image_size: Sides, levels: int) -> list[int]:
    """The shorter side of the image at each of so many levels, by which `attn_resolutions` names them."""
    return [min(sides(image_size)) >> level for level in range(levels)]


def check_halvings(image_size: Sides, halvings: int, why: str) -> None:
    """ValueError, with the reason `why`, where one of the sides cannot be halved so many times."""
    if any(side % 2**halvings for side in sides(image_size)):
        raise ValueError(
            f"image_size={image_size} cannot be halved {halvings} times, as {why}; its sides must be multiples of "
            f"{2**halvings}"
        )


def check_length(option: str, length: int, ch_mult: Sequence[float]) -> None:
    """ValueError where a signal of that length, given by that option, has not the levels that ch_mult asks for."""
    halvings = len(ch_mult) - 1
    if halvings > 0 and length % 2**halvings:
        raise ValueError(
            f"{option}: a length of {length} cannot be halved {halvings} times, as ch_mult={tuple(ch_mult)} asks; it "
            f"must be a multiple of {2**halvings}"
        )


def level_sizes(
    image_size: Sides,
    ch_mult: Sequence[float],
    attn_resolutions: Sequence[int],
    *,
    least: float = 1,
    option: str = "ch_mult",
) -> list[int]:
    """The shorter side of the image at each level.

    `least`: the smallest multiple that the network takes. `option`: what the levels are called in a message.

    Raises:
      ValueError: the image cannot be halved so often, or attention asks for a size that is not among them.
    """
    halvings = len(ch_mult) - 1
    if halvings < 0 or min(ch_mult) < least:
        raise ValueError(f"ch_mult={tuple(ch_mult)}: give one positive multiple of nf for each resolution")
    check_halvings(image_size, halvings, f"{option}={tuple(ch_mult)} asks")
    sizes = shorter_sides(image_size, len(ch_mult))
    missing = sorted(set(attn_resolutions) - set(sizes))
    if missing:
        raise ValueError(
            f"attn_resolutions {missing} never occur: the levels have sizes {sizes}; choose among them or ()"
        )
    return sizes
