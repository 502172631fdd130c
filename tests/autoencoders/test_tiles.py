"""Decoding tile by tile: what it has in common with decoding the whole, and how many latents it sees at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.tiles import _starts, decode_tiled

Z = jax.random.normal(jax.random.key(0), (2, 20, 31, 3))


def nearest(z):
    """Each latent alone: four pixels."""
    return jnp.repeat(jnp.repeat(z[..., :2], 2, axis=1), 2, axis=2)


def blurring(z):
    """Means over 3x3 latents, with zeros around; then as above."""
    around = jnp.pad(z, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, w = z.shape[1:3]
    return nearest(sum(around[:, i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9)


@pytest.mark.parametrize("tile", [2, 5, 8, 25, 40])
def test_a_decoder_that_sees_single_latents_gives_the_whole(tile: int) -> None:
    np.testing.assert_allclose(jax.jit(lambda z: decode_tiled(nearest, z, tile))(Z), nearest(Z), rtol=1e-5, atol=1e-6)


def test_away_from_the_ends_of_tiles_a_neighbourhood_is_that_of_the_whole() -> None:
    found, whole = np.asarray(decode_tiled(blurring, Z, 12)), np.asarray(blurring(Z))
    seams = np.zeros(whole.shape[1:3], bool)
    for axis, side in enumerate((20, 31)):
        for start in _starts(12, side):
            for end in {start, start + 11} - {0, side - 1}:
                np.moveaxis(seams, axis, 0)[2 * end : 2 * end + 2] = True
    error = np.abs(found - whole).max(axis=(0, 3))
    assert error[~seams].max() < 1e-6 < 1e-3 < error[seams].max()
    assert (error < 1e-6).mean() > 0.6


def test_it_is_traced_once_for_a_tile_and_keeps_no_more_than_that() -> None:
    seen = []

    def decode(z):
        seen.append(z.shape)
        return nearest(z)

    jax.make_jaxpr(lambda z: decode_tiled(decode, z, 8))(Z)
    assert set(seen) == {(2, 8, 8, 3)}
    seen.clear()
    decode_tiled(decode, Z, 31)
    assert seen == [(2, 20, 31, 3)]


def test_a_tile_has_two_sides() -> None:
    with pytest.raises(ValueError, match="a tile has 1 latents a side; it must be at least 2"):
        decode_tiled(nearest, Z, 1)
