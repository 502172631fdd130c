"""The codec of categories gives back what is stored, and shows grey levels as they are."""

import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders import Codec
from autoencoders.categories import Categories


@pytest.mark.parametrize(("count", "dtype"), [(17, np.uint8), (256, np.uint8), (1000, np.int32)])
def test_stored_numbers_are_x_and_come_back(count: int, dtype: type) -> None:
    codec = Categories(count, (3, 2))
    assert isinstance(codec, Codec)
    stored = np.random.default_rng(0).integers(0, count, (5, 3, 2)).astype(dtype)
    x = codec.encode(stored)
    assert x.dtype == jnp.int32
    np.testing.assert_array_equal(x, stored)
    assert codec.decode(x).dtype == dtype
    np.testing.assert_array_equal(codec.decode(x), stored)
    assert codec.bits_offset() == 0.0 and codec.information == ("bits/dim", 1.0)


def test_a_mask_that_is_left_is_shown_as_the_last_category_and_levels_from_black_to_white() -> None:
    codec = Categories(17, (2,))
    np.testing.assert_array_equal(codec.decode(jnp.array([[0, 17]])), [[0, 16]])
    np.testing.assert_array_equal(codec.to_uint8_display(jnp.array([[0, 8], [16, 17]])), [[0, 128], [255, 255]])
    np.testing.assert_array_equal(codec.of_pictures(np.array([[0.0, 0.5], [0.97, 1.0]])), [[0, 8], [16, 16]])
    with pytest.raises(ValueError, match="no grey levels to display"):
        Categories(1000, (2,)).to_uint8_display(jnp.zeros((1, 2), jnp.int32))
