"""Arrays as PyTorch lays them out, in this project's variables and back; and whether a network is the file's."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from checkpoints.published import refuse_misfits
from models import MODELS
from models.functional import Network, frozen

TRAINING = ("dropout", "dtype", "init_scale", "fourier_scale")
"""Options that say nothing of what the weights mean."""

Variables = dict[str, dict[str, np.ndarray]]


class Place(NamedTuple):
    """Where PyTorch keeps one of our arrays: its name there, and how a kernel of ours lies there.

    Attributes:
      name: the array's name there.
      ones: how many axes of length 1 follow the outputs and inputs of a matrix: 2 where it is a convolution there, 1
        where it is one along a sequence.
      table: whether it lies there as it does here: an embedding, one row a class, as our matrix for one-hot vectors has
        it, or a matrix that multiplies from the right.
    """

    name: str
    ones: int = 0
    table: bool = False

    def shape(self, ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape there of our array of that name and shape: O I [H W] for our [H W] I O."""
        if self._is_same(ours):
            return shape
        return (shape[-1], shape[-2], *shape[:-2], *(1,) * self.ones)

    def to_ours(self, ours: str, array: np.ndarray) -> np.ndarray:
        """Our array from theirs."""
        if self._is_same(ours):
            return array
        return np.moveaxis(array.reshape(array.shape[: array.ndim - self.ones]), (0, 1), (-1, -2))

    def to_theirs(self, ours: str, array: np.ndarray) -> np.ndarray:
        """Their array from ours."""
        return (
            array
            if self._is_same(ours)
            else np.moveaxis(array, (-1, -2), (0, 1)).reshape(self.shape(ours, array.shape))
        )

    def _is_same(self, ours: str) -> bool:
        return self.table or not ours.endswith("kernel")


def places_of(network: Network, place: Callable[[str, str], Place]) -> dict[str, Place]:
    """The place of each of the network's arrays, by our dotted name.

    `place` finds it from the module's name and from what PyTorch calls the array, where weights are not called kernel
    or scale.
    """
    found = {}
    for named in network.abstract().values():
        for name in named:
            module, _, last = name.rpartition(".")
            found[name] = place(
                module, {"kernel": "weight", "scale": "weight", "frequencies": "weight"}.get(last, last)
            )
    return found


def fill(
    file: str, network: Network, places: Mapping[str, Place], arrays: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """The network's variables, each array from its place among the file's; ValueError unless all of both have one."""
    variables: Variables = {}
    missing, shapes, used = [], [], set()
    for collection, named in network.abstract().items():
        variables[collection] = {}
        for name, abstract in named.items():
            place = places[name]
            if place.name not in arrays:
                missing.append(place.name)
                continue
            used.add(place.name)
            array, expected = arrays[place.name], place.shape(name, abstract.shape)
            if array.shape != expected:
                shapes.append(f"{place.name} {array.shape}, expected {expected}")
                continue
            variables[collection][name] = np.asarray(place.to_ours(name, array), abstract.dtype, order="C")
    refuse_misfits(file, missing, [name for name in arrays if name not in used], shapes)
    return variables


def spill(network: Network, places: Mapping[str, Place], variables: Mapping[str, Mapping]) -> dict[str, np.ndarray]:
    """The arrays as PyTorch has them, by their names there: the inverse of `fill`; ValueError for others' variables."""
    arrays = {}
    for collection, named in network.abstract().items():
        given = variables[collection]
        missing, left_over = sorted(named.keys() - given.keys()), sorted(given.keys() - named.keys())
        both = [(name, np.shape(given[name]), named[name].shape) for name in named if name in given]
        shapes = [f"{name} {shape}, expected {expected}" for name, shape, expected in both if shape != expected]
        refuse_misfits(f"the given {collection}", missing, left_over, shapes)
        for name in named:
            arrays[places[name].name] = places[name].to_theirs(name, np.asarray(jax.device_get(given[name])))
    return arrays


def effective_options(network: Network) -> dict[str, Any]:
    """The network's options, those left out by their defaults."""
    parameters = inspect.signature(MODELS[network.name].__init__).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
    return {name: frozen(value) for name, value in (defaults | dict(network.options)).items()}


def check_network(file: str, network: Network, name: str, options: Mapping[str, Any]) -> None:
    """Raise one ValueError that lists how the config's network differs from the file's; training options may differ."""
    if network.name != name:
        raise ValueError(f"{file} holds a network {name!r} and the config's model.name is {network.name!r}")
    given = effective_options(network)
    differences = [
        f"{option} is {given[option]!r}, in the file {frozen(value)!r}"
        for option, value in options.items()
        if option not in TRAINING and given[option] != frozen(value)
    ]
    if differences:
        raise ValueError(f"the config's network is not that of {file}: {'; '.join(differences)}; change the config")
