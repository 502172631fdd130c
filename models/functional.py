"""Networks as pure functions of flat dictionaries of arrays, for training, checkpoints and error messages."""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from models import create
from models.embeddings import Fixed

Variables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Network:
    """A network without its numbers: hashable and equal by its fields, so it may be a static argument.

    Variables are {"params": {...}, "fixed": {...}}, flat dictionaries from dotted names such as
    "down.0.blocks.1.conv0.kernel" to arrays; "fixed" holds what is never trained (Fourier frequencies).
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    remat: bool = False  # see `recomputing`

    @classmethod
    def create(cls, name: str, **options: Any) -> "Network":
        """Name a network of models.MODELS and its options; ValueError, before anything compiles, if they are wrong."""
        network = cls(name, tuple(sorted((option, frozen(value)) for option, value in options.items())))
        network.abstract()
        return network

    def recomputing(self) -> "Network":
        """The same function, whose backward pass keeps what enters its blocks and computes the rest again.

        Raises ValueError for a network that is not made of the U-Nets' blocks.
        """
        recomputing = replace(self, remat=True)
        recomputing.abstract()
        return recomputing

    def init(self, key: Key[Array, ""]) -> Variables:
        """Draw the initial variables, seconds for 60 million on a CPU: called as it is, not under jit."""
        _, variables, _ = _split(_create(self, key))
        return variables

    def apply(
        self,
        variables: Variables,
        x: Float[Array, "b *d"],
        c_noise: Num[Array, " b"] | None = None,
        condition: Any = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b *d"]:
        """The network's output; `keys`, one an example, turn dropout on. Pure: call it under jit.

        Only networks that are told no noise may be called without c_noise.
        """
        return self.module(variables)(x, c_noise, condition, keys=keys)

    def module(self, variables: Variables) -> Any:
        """The module (flax.nnx) with these numbers, whose further methods are pure functions too: for use under jit.

        Raises ValueError, with the names, unless the variables are this network's.
        """
        graph, expected, paths = _structure(self)
        values: dict[str, Any] = {}
        for collection in expected:
            missing = sorted(expected[collection].keys() - variables[collection].keys())
            unknown = sorted(variables[collection].keys() - expected[collection].keys())
            if missing or unknown:
                raise ValueError(f"these {collection} are not a {self.name}'s: missing {missing}, unknown {unknown}")
            values |= variables[collection]
        state = nnx.from_flat_state([(path, values[name]) for name, path in paths.items()])
        return nnx.merge(graph, state)

    def abstract(self) -> Variables:
        """Shapes and dtypes of the variables, as jax.ShapeDtypeStruct; nothing is compiled."""
        return {collection: dict(named) for collection, named in _structure(self)[1].items()}

    @property
    def dtype(self) -> DTypeLike | None:
        """What it computes in; None: float32."""
        return dict(self.options).get("dtype")

    def count(self) -> int:
        """The number of parameters as publications count them: trained and fixed values."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.abstract()))


@functools.cache
def _structure(network: Network) -> tuple[nnx.GraphDef, Variables, dict[str, tuple]]:
    """The module without its numbers, the abstract variables, and the path in the module of each dotted name."""
    static: dict[str, Any] = {}

    def build(key: Array) -> Variables:
        graph, variables, paths = _split(_create(network, key))
        static.update(graph=graph, paths=paths)
        return variables

    variables = jax.eval_shape(build, jax.random.key(0))
    return static["graph"], variables, static["paths"]


def _create(network: Network, key: Array) -> nnx.Module:
    module = create(network.name, key=key, **dict(network.options))
    if network.remat:
        blocks = [block for _, block in nnx.iter_modules(module) if hasattr(block, "remat")]
        if not blocks:
            raise ValueError(f"{network.name} has none of the U-Nets' blocks, which are what can be recomputed")
        for block in blocks:
            block.remat = True
    return module


def _split(module: nnx.Module) -> tuple[nnx.GraphDef, Variables, dict[str, tuple]]:
    graph, *states = nnx.split(module, nnx.Param, Fixed)
    variables: Variables = {"params": {}, "fixed": {}}
    paths: dict[str, tuple] = {}
    for collection, state in zip(variables, states, strict=True):
        for path, variable in nnx.to_flat_state(state):
            name = ".".join(map(str, path))
            variables[collection][name], paths[name] = variable[...], path
    return graph, variables, paths


def frozen(value: Any) -> Any:
    """An option as a network keeps it: sequences, and those in them, as tuples."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
