"""Checks made while a network is built or traced, before anything is compiled."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

import limits

Sizes = Mapping[str, tuple[int | None, ...]]
"""The shape of each condition that a network takes, of one example, by name; None is any length."""

LARGE = 10**6  # of channels, pixels and counts: no network is larger
COUNT = limits.Number(1, LARGE)
NUMBERS: dict[str, limits.Number] = {
    "image_size": COUNT,
    "num_channels": COUNT,
    "out_channels": COUNT,
    "shape": COUNT,
    "nf": COUNT,
    "width": COUNT,
    "depth": limits.Number(1, 1000),
    "num_categories": limits.Number(1, LARGE, note="without the mask"),
    "head_epsilon": limits.not_negative(note="published: 1e-6; 0: exact"),
    "ch_mult": limits.Number(0, LARGE, above=True),
    "channels": limits.Number(4, LARGE, note="of each level, a whole number; (): by nf and ch_mult"),
    "num_res_blocks": limits.Number(1, 1000),
    "attn_resolutions": COUNT,
    "num_groups": COUNT,
    "attention_groups": COUNT,
    "num_heads": COUNT,
    "num_heads_up": COUNT,
    "head_channels": COUNT,
    "time_features": limits.Number(4, LARGE, note="half sines, half cosines"),
    "image_channels": limits.Number(0, LARGE, note="of an image that it is told; 9-channel inpainting: 5"),
    "depths": limits.Number(0, 1000, note="of each level's transformers; 0: the level does not attend"),
    "middle_depth": limits.Number(1, 1000, note="published: 1, 10"),
    "text_dim": limits.Number(0, LARGE, note="features of a token; 0: it is told no text"),
    "pooled_dim": limits.Number(0, LARGE, note="features of the pooled text; 0: it is told none"),
    "size_features": limits.Number(4, LARGE, note="of each number; half cosines, half sines; published: 256"),
    "label_features": limits.Number(1, LARGE, note="of the token that a class is; published: 512"),
    "label_dim": limits.Number(0, LARGE, note="the number of classes; 0: it is told none"),
    "augment_dim": limits.Number(0, LARGE, note="EDM: 9; 0: it is told of no augmentation"),
    "num_scales": limits.Number(0, LARGE, note="published: 1000"),
    "dropout": limits.share(below=True, note="the share of features that is dropped"),
    "fir_kernel": limits.Number(note="published: 1, 3, 3, 1"),
    "init_scale": limits.not_negative(note="published: 0"),
    "fourier_scale": limits.positive(note="published: 16"),
    "fastest_frequency": limits.positive(note="published: 1"),
    "time_scale": limits.positive(note="1000 of consistency models of OpenAI's"),
    "fourier_features": limits.Number(0, 64, note="powers of 2 of the frequencies; published: 6, 7"),
    "sigma_min": limits.positive(),
    "z_channels": limits.Number(1, LARGE, note="published: 3, 4 and more"),
    "embed_dim": limits.Number(1, LARGE, note="published: 3, 4 and more"),
    "log_scale": limits.Number(-30.0, 30.0, note="0: a scale of 1, where data lie in [-1, 1]"),
    "num_codes": limits.Number(1, LARGE, note="published: 256, 8192, 16384"),
    "scaling_factor": limits.not_negative(note="published: 0.18215; 0: unknown"),
    "shift_factor": limits.Number(note="published: 0"),
    "num_layers": limits.Number(1, 16, note="published: 3"),
    "sigma_max": limits.positive(),
    "vocabulary": limits.Number(1, LARGE, note="tokens that there are; GLIDE: 50257, CLIP: 49408"),
    "tokens": limits.Number(1, LARGE, note="of a text; GLIDE: 128, CLIP: 77"),
    "text_width": limits.Number(1, LARGE, note="GLIDE: 512; CLIP: 512, 768, 1024, 1280"),
    "text_layers": limits.Number(1, 1000, note="GLIDE: 16; CLIP: 12, 24, 32"),
    "text_heads": limits.Number(1, LARGE, note="published: one for 64 features"),
    "upsampling": limits.Number(0, 1024, note="how many times larger than the picture that it is told; 0: none"),
    "low_res_noise": limits.not_negative(note="the largest deviation, of data in [-1, 1]; 0: none"),
    "text_mlp": limits.Number(1, LARGE, note="published: 4 times the width, which None stands for"),
    "mlp_width": limits.Number(1, LARGE, note="published: 4 times the width, which None stands for"),
    "taps": limits.Number(0, LARGE, note="an odd number; 0: no convolution"),
    "image_width": limits.Number(1, LARGE, note="CLIP: 768, 1024"),
    "image_layers": limits.Number(1, 1000, note="CLIP: 12, 24"),
    "image_heads": limits.Number(1, LARGE, note="CLIP: one for 64 features"),
    "image_mlp": limits.Number(1, LARGE, note="published: 4 times the width, which None stands for"),
    "patch_size": limits.Number(1, LARGE, note="CLIP: 14, 16, 32; GLIDE's: 4"),
    "projection_dim": limits.Number(0, LARGE, note="CLIP: 512, 768; 0: there is no projection"),
    "end_token": limits.Number(0, LARGE, note="CLIP: 49407; None: the largest number of a text"),
}
"""What each number among the networks' options may be, by name; whole numbers where the constructor's type is int."""


@dataclasses.dataclass(frozen=True)
class Dtype(limits.Range):
    """A type of floating-point numbers, by name or itself, or None."""

    words: str = "known are float32, bfloat16, float16 and float64, or None for that of the inputs"

    def allows(self, value: Any) -> bool:
        """Whether it is one."""
        try:
            return value is None or bool(jnp.issubdtype(jnp.dtype(value), jnp.floating))
        except TypeError:
            return False


@functools.cache
def ranges_of(network: Any) -> dict[str, limits.Range]:
    """What each option of a network may be."""
    return limits.of_options(network.__init__, NUMBERS, {DTypeLike | None: Dtype()})


def check_options(network: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the `given` local variables of a network's constructor, at its beginning.

    Raises:
      ValueError: one of them is of another type or outside its range.
    """
    limits.check("model.", given, ranges_of(network))
    return {name: value for name, value in given.items() if name not in ("self", "__class__")}


def check_even(option: str, features: int) -> None:
    """Raise ValueError unless a time embedding can be half sines, half cosines of so many features."""
    if features < 4 or features % 2:
        raise ValueError(
            f"{option}={features}: the time embedding is half sines, half cosines; choose an even {option} of 4 or more"
        )


def check_axes(shape: tuple[int, ...], *axes: str) -> None:
    """Raise ValueError unless the shape of an example has just these axes."""
    if len(shape) != len(axes):
        raise ValueError(f"shape={tuple(shape)}: this network is of examples of shape ({', '.join(axes)})")


def check_centered(centered: bool) -> None:
    """Raise ValueError unless the data are in [-1, 1], for networks that take no others."""
    if not centered:
        raise ValueError("this network takes data in [-1, 1]: set data.centered=True")


def check_call(
    x: Array,
    c_noise: Array,
    condition: Mapping[str, Any] | None,
    keys: Array | None,
    shape: tuple[int, ...],
    sizes: Sizes,
) -> None:
    """Raise ValueError unless the arguments fit a network whose examples have `shape`.

    `sizes`: the shape of each condition the network takes, of one example, by name, in which None is any length; any of
    them may be left out of `condition`.
    """
    if condition is not None and not sizes:
        raise ValueError("this network takes no condition: leave condition=None or choose a conditional network")
    for name, value in (condition or {}).items():
        limits.check_known("condition", name, sizes)
        expected = sizes[name]
        received = value.shape[1:] if len(value.shape) == 1 + len(expected) else expected
        fitting = [n if length is None else length for n, length in zip(received, expected, strict=True)]
        if value.shape != (x.shape[0], *fitting):
            words = ["n" if length is None else str(length) for length in expected]
            raise ValueError(
                f"condition {name!r} holds {' x '.join(words)} numbers an example, shape "
                f"({', '.join([str(x.shape[0]), *words])}); received {value.shape}"
            )
    if x.shape[1:] != shape:
        raise ValueError(f"this network was built for examples of shape {shape}, received {x.shape[1:]}")
    if c_noise.shape != x.shape[:1]:
        raise ValueError(f"c_noise holds one value an example, shape {x.shape[:1]}; received {c_noise.shape}")
    check_keys(x, keys)


def check_keys(x: Array, keys: Array | None) -> None:
    """Raise ValueError unless there are no dropout keys, or one an example."""
    if keys is not None and keys.shape != x.shape[:1]:
        raise ValueError(
            f"keys holds one key an example, shape {x.shape[:1]}; received {keys.shape}: "
            "use jax.random.split(jax.random.key(seed), batch_size)"
        )
