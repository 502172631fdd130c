"""Fields of a condition that training makes of the data (`Conditioner.make`), made where a trained run is used.

Of an upsampler that is the smaller picture. It is made of data without anything random: a level stands for the middle
of its bin, as it does where a sample is enlarged, and a posterior for its mean.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from autoencoders import Codec
from conditions import Together
from data import Source
from data.source import take


def of_data(conditioner: Together, codec: Codec, data: Shaped[Any, "b *d"]) -> dict[str, Array]:
    """The fields of examples with these data, as the codec's field of their records holds them."""
    if not conditioner.made_fields:
        return {}
    return conditioner.make(of_levels(codec, data) if codec.levels else jnp.asarray(codec.encode(data)))


def without_noise(codec: Codec, data: Shaped[Any, "b *d"]) -> Array:
    """The x of these stored pictures, in the middles of the bins of their levels where x are dequantised."""
    noisy = codec.pictures.dequantization == "uniform"
    return of_levels(codec, data) if codec.levels and noisy else jnp.asarray(codec.encode(data, None))


def of_levels(codec: Codec, levels: Shaped[Any, "b *d"]) -> Array:
    """The middles of the bins of these grey levels, as the model of pictures sees them."""
    return jnp.asarray(codec.pictures.centres(), np.float32)[jnp.asarray(levels)]


def needed(conditioner: Together) -> Together:
    """The parts that make a field without which a network cannot do."""
    return Together(tuple(part for part in conditioner.parts if part.needed and part.made_fields))


def of_test_set(conditioner: Together, codec: Codec, source: Source, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The fields without which a network cannot do, of the test examples of these numbers, counted in turn.

    The records are as the codec takes them. Of a network that can do without there is nothing.

    Raises:
      ValueError: there are no test examples.
    """
    made_of = needed(conditioner)
    if not made_of.parts:
        return {}
    if not len(source.test):
        raise ValueError(
            f"the network is told {made_of.made_fields[0]!r}, and {source.name!r} has no test examples to make it of; "
            "draw with a run that is not, and name this one as its sampling.upsampler"
        )
    found = of_data(made_of, codec, take(source.test, numbers % len(source.test))[codec.field])
    return {name: np.asarray(field) for name, field in found.items()}
