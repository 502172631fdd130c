"""What is known of an image: y = A x_0 + noise n for a linear A, which may lose almost all of it.

A measurement is a pytree: its arrays (a mask, a matrix) may be arguments of what is compiled, so that another mask of
the same shape is the same program; its shape, its noise and a function given by the user are part of the program.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from inverse.ranges import RANGES
from inverse.solve import conjugate_gradients
from limits import check
from sde_lib.base import Coefficient, expand

PSEUDOINVERSE_STEPS = 100
Scale = Coefficient | float


@dataclasses.dataclass(frozen=True, eq=False)
class LinearMeasurement(abc.ABC):
    """A and the noise; a ready-made one gives `apply`, `adjoint` and, where there is a closed form, `solve`.

    Attributes:
      noise: standard deviation of n, in the units of the data; 0: y is exact.
    """

    noise: float = dataclasses.field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        check("measurement: ", {"noise": self.noise}, RANGES)

    @abc.abstractmethod
    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b *m"]:
        """A x, of each example by itself."""

    @abc.abstractmethod
    def adjoint(self, y: Float[Array, "b *m"]) -> Float[Array, "b *d"]:
        """A^T y: `<A x, y> = <x, A^T y>`."""

    def solve(self, v: Float[Array, "b *m"], scale: Scale, floor: Scale) -> Float[Array, "b *m"]:
        """(scale A A^T + floor)^-1 v for coefficients >= 0, scalars or [b]; with floor 0 on the range of A.

        Here by at most 100 steps of conjugate gradients.
        """
        a, c = expand(jnp.asarray(scale), v), expand(jnp.asarray(floor), v)
        return conjugate_gradients(lambda u: a * self.apply(self.adjoint(u)) + c * u, v, iterations=PSEUDOINVERSE_STEPS)

    def pinv(self, y: Float[Array, "b *m"]) -> Float[Array, "b *d"]:
        """A^+ y = A^T (A A^T)^-1 y, the smallest x with A x = y."""
        return self.adjoint(self.solve(y, 1.0, 0.0))

    def residual(self, x: Float[Array, "b *d"], y: Float[Array, "n *m"]) -> Float[Array, "b *m"]:
        """y - A x.

        Raises:
          ValueError: y has not the shape of A x; it is [b, ...] or, one for all examples, [1, ...].
        """
        self._check(x, y)
        return y - self.apply(x)

    def impose(self, x: Float[Array, "b *d"], y: Float[Array, "n *m"]) -> Float[Array, "b *d"]:
        """x + A^+ (y - A x), the nearest point to x whose measurement is y; raises as `residual`."""
        return x + self.pinv(self.residual(x, y))

    def _check(self, x: Array, y: Array) -> None:
        shape = jax.eval_shape(self.apply, x).shape
        if y.shape[1:] != shape[1:] or len(y) not in (1, len(x)):
            raise ValueError(f"measurement: y has shape {y.shape}; that of x {x.shape} has {shape}")


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["function", "shape", "noise"])
@dataclasses.dataclass(frozen=True, eq=False)
class Linear(LinearMeasurement):
    """A given as a function of a batch; see `linear`."""

    function: Callable
    shape: tuple[int, ...]

    def apply(self, x: Float[Array, "b *d"]) -> Float[Array, "b *m"]:
        """The function itself."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"measurement: x has shape {x.shape}; the function takes [b, *{self.shape}]")
        return self.function(x)

    def adjoint(self, y: Float[Array, "b *m"]) -> Float[Array, "b *d"]:
        """The function transposed by JAX."""
        return _transposed(self.function, self.shape, y)


def _transposed(function: Callable, shape: tuple[int, ...], y: Array) -> Array:
    return jax.linear_transpose(function, jax.ShapeDtypeStruct((len(y), *shape), y.dtype))(y)[0]


def linear(function: Callable[[Array], Array], shape: tuple[int, ...], *, noise: float = 0.0) -> Linear:
    """Any linear function of a batch, [b, *shape] -> [b, ...], each example by itself.

    Its A^+ takes conjugate gradients, up to 100 applications of A and A^T; none where it is ill-conditioned is exact.

    Raises:
      ValueError: a function that is not linear as far as that shows (A 0 is not 0, or JAX finds no transpose), that
        does not take such a batch, or does not give one; a negative noise.
    """
    shape = tuple(shape)
    zeros = jnp.zeros((1, *shape))
    try:
        y = function(zeros)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"measurement: the function does not take x of shape {zeros.shape}: {reason}") from error
    if not isinstance(y, jax.Array) or y.ndim < 1 or len(y) != 1:
        raise ValueError(
            f"measurement: the function makes {getattr(y, 'shape', y)} of {zeros.shape}; needed is [b, ...]"
        )
    try:
        jax.eval_shape(lambda y: _transposed(function, shape, y), y)
    except Exception as error:
        raise ValueError("measurement: the function is not linear: JAX cannot transpose it") from error
    if not bool(jnp.all(y == 0.0)):
        raise ValueError("measurement: the function is not linear: of x = 0 it does not make 0")
    return Linear(function, shape, noise=noise)
