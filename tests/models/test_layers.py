"""The bricks, each against an independent computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from models.embeddings import positional
from models.layers import GroupNorm, Keys, conv3x3, dropout, initializer
from models.resample import Resample, downsample, upfirdn, upsample

X = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
IMAGES = jnp.asarray(X)


def along(axis: int, x: np.ndarray, taps: list[float], up: int, down: int) -> np.ndarray:
    return np.apply_along_axis(lambda line: scipy.signal.upfirdn(taps, line, up, down), axis, x)


OTHER_TAPS = ([2.0], [1.0, 2.0, 4.0], [5.0, -1.0, 2.0, 3.0, 1.0])


@pytest.mark.parametrize(
    "taps", [[1.0, 3.0, 3.0, 1.0], *(pytest.param(each, marks=pytest.mark.slow) for each in OTHER_TAPS)]
)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2), (1, 3)])
def test_upfirdn_is_scipys_with_room_for_every_output(taps, up, down):
    ours = upfirdn(IMAGES, taps, up=up, down=down, pad=(len(taps) - 1, len(taps) - up))
    scipys = along(2, along(1, X, taps, up, down), taps, up, down)
    np.testing.assert_allclose(ours, scipys, atol=2e-5)


def _pads(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pad":
            yield equation.params["padding_config"]
        for inner in jax.core.jaxprs_in_params(equation.params):
            yield from _pads(inner)


@pytest.mark.parametrize("resample", [upsample, downsample])
def test_filters_store_no_zeros_between_pixels(resample):
    def both(x):
        y, back = jax.vjp(lambda x: resample(x, (1, 3, 3, 1)), x)
        return back(y)

    pads = list(_pads(jax.make_jaxpr(both)(X).jaxpr))
    assert pads and all(between == 0 for padding in pads for _, _, between in padding)
    assert all(len(padding) == X.ndim for padding in pads), "one of another rank puts a phase among zeros"


@pytest.mark.parametrize(("up", "down"), [(2, 1), pytest.param(3, 1, marks=pytest.mark.slow), (3, 2), (1, 2)])
@pytest.mark.parametrize("pad", [pytest.param((-1, -1), marks=pytest.mark.slow), (0, 4), (5, -2)])
@pytest.mark.parametrize("taps", [pytest.param([2.0], marks=pytest.mark.slow), [1.0, 2.0, 4.0, -1.0]])
def test_upfirdn_is_its_definition_for_any_padding(up, down, pad, taps):
    expected = X
    for axis in (1, 2):
        stuffed = np.zeros([n * up if i == axis else n for i, n in enumerate(expected.shape)], np.float32)
        lines = np.moveaxis(stuffed, axis, 0)
        lines[::up] = np.moveaxis(expected, axis, 0)
        lines = np.pad(lines, [(max(pad[0], 0), max(pad[1], 0)), (0, 0), (0, 0), (0, 0)])
        lines = lines[-min(pad[0], 0) : len(lines) + min(pad[1], 0)]
        size = (len(lines) - len(taps)) // down + 1
        convolved = [sum(tap * lines[o * down + j] for j, tap in enumerate(reversed(taps))) for o in range(size)]
        expected = np.moveaxis(np.stack(convolved), 0, axis)
    np.testing.assert_allclose(upfirdn(IMAGES, taps, up=up, down=down, pad=pad), expected, atol=1e-5)


def test_upfirdn_crops_for_negative_padding():
    np.testing.assert_array_equal(upfirdn(IMAGES, [1.0], pad=(-1, -2)), X[:, 1:-2, 1:-2])


@pytest.mark.parametrize("kernel", [None, (1, 1), (1, 3, 3, 1), (1, 5, 10, 10, 5, 1)])
def test_resampling_keeps_constants_away_from_the_border_and_halves_or_doubles(kernel):
    ones = jnp.ones((1, 16, 16, 2))
    for resized, size in ((upsample(ones, kernel), 32), (downsample(ones, kernel), 8)):
        assert resized.shape == (1, size, size, 2)
        np.testing.assert_allclose(resized[:, 3:-3, 3:-3], 1, rtol=1e-6)


def test_resampling_is_centred():
    ramp = np.broadcast_to(np.arange(16.0, dtype=np.float32)[:, None, None], (1, 16, 16, 1))
    inner = slice(3, -3)
    up, down = (jax.jit(resample, static_argnums=1) for resample in (upsample, downsample))
    halved, doubled = (np.asarray(resample(ramp, (1, 3, 3, 1))) for resample in (down, up))
    np.testing.assert_allclose(halved[0, 2:-2, 4, 0], np.arange(2, 6) * 2 + 0.5, rtol=1e-6)
    np.testing.assert_allclose(doubled[0, inner, 8, 0], (np.arange(32)[inner] - 0.5) / 2, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(up(X))[:, ::2, 1::2], X)
    np.testing.assert_allclose(down(up(X)), X, rtol=1e-6)


@pytest.mark.parametrize("kernel", [(1, 3, 3, 1), (1, 2, 4, 1)])
def test_filtering_before_the_convolution_is_filtering_behind_it(kernel):
    """StyleGAN2 convolves the zero-stuffed image, then filters; checked by full convolutions in scipy."""
    layer = Resample(3, 4, "up", conv=True, fir_kernel=kernel, dtype=None, rngs=Keys(jax.random.key(0)))
    stuffed = np.zeros((2, 11, 15, 3))
    stuffed[:, ::2, ::2] = X
    weights = np.asarray(layer.conv.kernel[...], np.float64)[::-1, ::-1]  # networks correlate
    taps = 2 * np.array(kernel) / sum(kernel)
    expected = np.zeros((2, 12, 16, 4))
    for b, o in np.ndindex(2, 4):
        convolved = sum(scipy.signal.convolve(stuffed[b, ..., i], weights[..., i, o]) for i in range(3))
        expected[b, ..., o] = scipy.signal.convolve(convolved, np.outer(taps, taps))[2:-2, 2:-2]
    np.testing.assert_allclose(layer(IMAGES), expected, atol=1e-5)


def test_strided_convolution_pads_below_and_right_only():
    layer = Resample(3, 4, "down", conv=True, fir_kernel=None, dtype=None, rngs=Keys(jax.random.key(0)))
    weights = np.asarray(layer.conv.kernel[...], np.float64)
    padded = np.pad(X, ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = [
        [np.tensordot(padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], weights, 3) for j in range(4)] for i in range(3)
    ]
    np.testing.assert_allclose(layer(IMAGES), np.transpose(expected, (2, 0, 1, 3)), atol=1e-5)


def test_group_norm_standardises_each_group_of_each_example():
    x = 1000 + np.random.default_rng(1).normal(size=(3, 5, 5, 12)).astype(np.float32)
    layer = GroupNorm(12, 3)
    layer.scale[...] = layer.scale[...] * 2
    layer.bias[...] = layer.bias[...] + 0.5
    z = x.astype(np.float64).reshape(3, 25, 3, 4)
    standard = (z - z.mean((1, 3), keepdims=True)) / z.std((1, 3), keepdims=True)
    # x * slope + offset with a mean of 1000: float32 leaves 1000 * 2^-23, and twice that with the scale
    np.testing.assert_allclose(layer(jnp.asarray(x)), 2 * standard.reshape(x.shape) + 0.5, atol=1e-3)


def test_group_norm_keeps_bfloat16_and_says_which_widths_fit():
    assert GroupNorm(8, 2)(jnp.ones((1, 2, 2, 8), jnp.bfloat16)).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="33 channels cannot be normalised in 8 equal groups: choose nf"):
        GroupNorm(33, 8)


def test_initial_kernels_are_uniform_with_the_published_variance():
    key, shape = jax.random.key(0), (3, 3, 40, 60)
    for scale in (1.0, 0.1, 0.0):
        kernel = initializer(scale)(key, shape)
        fan_average = 9 * (40 + 60) / 2
        limit = np.sqrt(3 * (scale or 1e-10) / fan_average)
        assert np.abs(kernel).max() <= limit
        # the variance of n uniform squares: standard error of the mean square limit^2 sqrt(4 / 45 / n)
        assert abs(np.mean(np.square(kernel)) - limit**2 / 3) < 4 * limit**2 * np.sqrt(4 / 45 / kernel.size)
        assert abs(kernel.mean()) < 4 * limit / np.sqrt(3 * kernel.size)
    layer = conv3x3(4, 4, dtype=None, rngs=Keys(key))
    assert not layer.bias[...].any()


def test_dropout_draws_each_example_from_its_own_key_and_layer():
    keys, drop = jax.random.split(jax.random.key(0), 8), jax.jit(dropout, static_argnums=(1, 3))
    x = jnp.ones((8, 32, 32, 5))
    whole = np.asarray(drop(x, 0.3, keys, 2))
    halves = [drop(x[s], 0.3, keys[s], 2) for s in (slice(0, 4), slice(4, 8))]
    np.testing.assert_array_equal(whole, np.concatenate(halves))
    assert (drop(x, 0.3, keys, 3) != whole).any()
    assert (whole[0] != whole[1]).any()
    dropped = float((whole == 0).mean())
    assert abs(dropped - 0.3) < 4 * np.sqrt(0.3 * 0.7 / x.size)
    assert abs(float(whole.mean()) - 1) < 4 * np.sqrt(0.3 / 0.7 / x.size)
    assert dropout(x, 0.3, None, 2) is x and dropout(x, 0.0, keys, 2) is x


def test_dropout_masks_are_uncorrelated_over_features_examples_and_layers():
    keys = jax.random.split(jax.random.key(1), 64)
    masks = np.stack([dropout(jnp.ones((64, 4096)), 0.5, keys, layer) > 0 for layer in range(4)]) - 0.5
    bound = 5 * 0.25 / np.sqrt(masks.size / 4)  # of the mean of products of two fair signs of size 1/2
    for lag in (1, 2, 8, 64, 512, 1024):
        assert abs(np.mean(masks[..., :-lag] * masks[..., lag:])) < bound, lag
    for lag in (1, 2, 16, 32):
        assert abs(np.mean(masks[:, :-lag] * masks[:, lag:])) < bound * np.sqrt(2)
    for a, b in ((0, 1), (1, 2), (0, 3)):
        assert abs(np.mean(masks[a] * masks[b])) < bound * 2
    rows = masks.mean(-1)  # each example and layer drops its share: 5 standard errors of 256 means
    assert np.abs(rows).max() < 5 * 0.5 / np.sqrt(4096)


def test_dropout_of_an_odd_number_of_features():
    assert dropout(jnp.ones((2, 3)), 0.5, jax.random.split(jax.random.key(0), 2), 0).shape == (2, 3)


def test_positional_embedding_spans_one_to_ten_thousand():
    embedded = positional(jnp.array([0.0, 2.0]), 8)
    np.testing.assert_allclose(embedded[0], [0, 0, 0, 0, 1, 1, 1, 1], atol=1e-7)
    np.testing.assert_allclose(embedded[1, [0, 3]], [np.sin(2), np.sin(2e-4)], rtol=1e-5)
