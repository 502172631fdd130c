import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.grey_levels import CELLS, GreyLevels
from data.augment import random_flip

KEYS = jax.random.split(jax.random.key(0), 16)


def every_level(levels: int) -> np.ndarray:
    return np.tile(np.arange(levels, dtype=np.uint8), (16, 1))[..., None, None]


@pytest.mark.parametrize("levels", [2, 17, 255, 256])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("dequantization", ["uniform", "none"])
def test_decode_inverts_encode(levels, centered, dequantization):
    codec = GreyLevels(levels, centered, dequantization)
    image = every_level(levels)
    x = jax.jit(codec.encode)(image, KEYS)
    assert x.dtype == jnp.float32
    assert x.min() >= (-1 if centered else 0) and x.max() <= 1 + 1e-6  # compiled, k / 255 is k * (1 / 255)
    for decoded in (jax.jit(codec.decode)(x), codec.decode(np.asarray(x))):
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, image)
    assert isinstance(codec.decode(np.asarray(x)), np.ndarray)


@pytest.mark.parametrize("levels", [17, 253, 256])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("cell", [0, CELLS - 1])
def test_the_extreme_noise_stays_in_its_level(levels, centered, cell, monkeypatch):
    monkeypatch.setattr(jax.random, "randint", lambda key, shape, low, high: jnp.full(shape, cell))
    codec, image = GreyLevels(levels, centered, "uniform"), every_level(levels)
    np.testing.assert_array_equal(codec.decode(codec.encode(image, KEYS)), image)


def test_noise_is_uniform_within_a_level():
    u = 17 * GreyLevels(17, False, "uniform").encode(jnp.zeros((16, 10_000), jnp.uint8), KEYS)
    n = u.size
    assert abs(u.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / n)


def test_decode_rounds_and_clips():
    x = np.float32([-9, 0.49 / 255, 0.51 / 255, 254.6 / 255, 9])
    np.testing.assert_array_equal(GreyLevels(256, False, "none").decode(x), [0, 0, 1, 255, 255])


def test_noise_of_an_example_does_not_depend_on_its_batch():
    codec, image = GreyLevels(17, True, "uniform"), every_level(17)
    others = np.concatenate([16 - image[:8], image[8:]])
    alone, beside = codec.encode(image, KEYS), codec.encode(others, KEYS.at[:8].set(KEYS[8:]))
    np.testing.assert_array_equal(alone[8:], beside[8:])
    assert np.any(alone[:8] != beside[:8])


def test_display_stretches_the_levels():
    codec = GreyLevels(17, True, "none")
    shown = codec.to_uint8_display(codec.encode(np.arange(17, dtype=np.uint8)))
    np.testing.assert_array_equal(shown, np.round(np.arange(17) * 255 / 16))
    assert shown.dtype == np.uint8


@pytest.mark.parametrize("centered", [False, True])
def test_bits_offset_makes_uniform_levels_cost_log2_levels(centered):
    # If all L levels are equally likely the encoded density is uniform on an interval of length 1, or 2 if centered,
    # and no code is shorter than log2 L bits a dimension.
    log2_density = -np.log2(2 if centered else 1)
    for levels in (17, 256):
        assert -log2_density + GreyLevels(levels, centered, "uniform").bits_offset() == pytest.approx(np.log2(levels))


def test_continuous_data_is_left_alone():
    codec, x = GreyLevels(None, True, "uniform"), np.float32([[-3.5, 2.0]])
    assert codec.encode(x) is x and codec.decode(x) is x and codec.bits_offset() == 0
    with pytest.raises(ValueError, match="continuous"):
        codec.to_uint8_display(x)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="needs keys"):
        GreyLevels(17, True, "uniform").encode(every_level(17))
    with pytest.raises(ValueError, match="dequantization='uniform'"):
        GreyLevels(17, True, "none").bits_offset()
    with pytest.raises(ValueError, match="'gauss'"):
        GreyLevels(17, True, "gauss")
    with pytest.raises(ValueError, match="257"):
        GreyLevels(257, True, "uniform")
    for floats in (np.linspace(0, 1, 17), jnp.linspace(0, 1, 17)):
        with pytest.raises(ValueError, match="stored levels are whole numbers, and these are float"):
            GreyLevels(17, True, "none").stretch(floats)


def test_random_flip():
    keys = jax.random.split(jax.random.key(1), 4000)
    x = jnp.broadcast_to(jnp.arange(3.0)[None, None, :, None], (4000, 2, 3, 1))
    y = jax.jit(random_flip)(keys, x)
    flipped = np.asarray(y[:, 0, 0, 0] == 2)
    np.testing.assert_array_equal(y, np.where(flipped[:, None, None, None], x[:, :, ::-1], x))
    assert abs(flipped.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    np.testing.assert_array_equal(y[:7], random_flip(keys[:7], x[:7]))


@pytest.mark.parametrize("dequantization", ["uniform", "none"])
@pytest.mark.parametrize("centered", [True, False])
def test_bins_are_centred_where_the_levels_are(dequantization: str, centered: bool) -> None:
    """Without noise the levels themselves; with it the mean over the noise, whose ends lie half a bin either side."""
    (low, high), half = GreyLevels(17, centered, dequantization).bins()
    centres = low + (high - low) * np.arange(17) / 16
    np.testing.assert_allclose(GreyLevels(17, centered, dequantization).centres(), centres, atol=1e-12)
    if dequantization == "none":
        np.testing.assert_allclose(
            centres, GreyLevels(17, centered, "none").encode(np.arange(17)[:, None])[:, 0], atol=1e-6
        )
    else:
        assert (low - half, high + half) == pytest.approx((-1.0, 1.0) if centered else (0.0, 1.0))
        x = GreyLevels(17, centered, "uniform").encode(np.full((1, 2000), 5), jax.random.key(0)[None])
        assert float(x.mean()) == pytest.approx(centres[5], abs=4 * half / np.sqrt(3 * 2000))
    np.testing.assert_array_equal(GreyLevels(17, centered, dequantization).decode(centres), np.arange(17))
    np.testing.assert_allclose(np.diff(centres), 2 * half)


def test_continuous_data_have_no_bins() -> None:
    with pytest.raises(ValueError, match="no grey levels"):
        GreyLevels(None, True, "none").bins()
