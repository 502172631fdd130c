"""Chains over ordered categories, whose steps lead to neighbours: D3PM's discretised Gaussian and banded matrices.

A step moves from category i to j with a probability of |i - j| alone, and stays with what is left of the row, also at
the ends (Austin et al. 2021, arXiv:2107.03006, App. A.2.3 and A.2.5); so the matrices are symmetric and the uniform
distribution is stationary. The columns of one step are gathered from a row of 2 K - 1 numbers. The products Q(0, t)
are made once, in float64, as tables [n, K, K]: rows and columns are gathered from them, and a row of weights is
multiplied with the one of its level. That is K multiplications a category, as in the published code, and 262 MB for 256
categories and 1000 levels; `Replacing` needs neither.

Nothing shorter says the same. Gaussian steps do not commute at the ends, so that their products have no closed form; of
banded ones, I - beta L / K with one L, it is by the eigenvectors of L. That and low rank (2 at the last of 1000 levels,
but 61 of 256 at level 20) are right to rounding of the largest entry, whereas bounds take logarithms of small ones.
"""

import abc
import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from limits import Flag, Maybe, OneOf, Range, check, whole
from sde_lib.base import Coefficient
from sde_lib.categorical import CATEGORIES, CategoricalProcess, Categories, StateWeights, Weights, per_example

KERNELS = ("gaussian", "banded")
RANGES: dict[str, Range] = {
    "kernel": OneOf(KERNELS),
    "bands": Maybe(whole(1, note="published: 16 of 256 categories")),
    "published_spacing": Flag(),
}
EXACT_NUMBERS = 2**24
"""Tables of more numbers than that are kept in float32, which is what computes with them."""


class Stepped(CategoricalProcess, abc.ABC):
    """A chain of n levels given by the matrices of its steps, from each level to the next.

    `onto` is that of a step from one level to the next; the times of a sampler must be its levels.
    """

    @property
    @abc.abstractmethod
    def times(self) -> np.ndarray:
        """The times of the levels, rising, the last 1, [n]."""

    @abc.abstractmethod
    def steps(self) -> Sequence[np.ndarray]:
        """The matrices of the steps, the one from data first, n of [K, K]; Q[i, j] = q(x_t = j | x_s = i)."""

    @property
    def num_levels(self) -> int:
        """n."""
        return len(self.times)

    @functools.cached_property
    def products(self) -> np.ndarray:
        """Q(0, t) at data and at each level, [n + 1, K, K]."""
        k, n = self.categories, self.num_levels
        found = np.empty((n + 1, k, k), np.float64 if (n + 1) * k * k <= EXACT_NUMBERS else np.float32)
        product = np.eye(k)
        for i, step in enumerate([np.eye(k), *self.steps()]):
            product = product @ step
            found[i] = product
        return found

    def place(self, t: Coefficient) -> Int[Array, "..."]:
        """The entry of `products` at time t: 0 at data, i + 1 at level i; a time off a level is on the one above."""
        times = np.concatenate([[0.0], self.times])
        middles = jnp.asarray(0.5 * (times[1:] + times[:-1]), jnp.result_type(t, float))
        return jnp.searchsorted(middles, t, side="right")

    def is_cleanest(self, t: Coefficient) -> Bool[Array, "..."]:
        """Whether t is the first level."""
        return self.place(t) <= 1

    def respaced(self, steps: int, start: float = 1.0) -> CategoricalProcess:
        """So many of its levels up to `start`, evenly picked, and the last one."""
        n = self.num_levels
        if steps == n:
            return self
        levels = [round(float(t) * n) - 1 for t in self.grid(steps, start)[-2::-1]]
        return Respaced(self, tuple(dict.fromkeys([*levels, n - 1])))

    def table(self, dtype: DTypeLike) -> Float[Array, "n k k"]:
        """`products` for the device: one array for all that is made of it, which a program need not hold twice."""
        dtype = jnp.dtype(dtype)
        if dtype not in self._tables:
            with jax.ensure_compile_time_eval():
                self._tables[dtype] = jnp.asarray(self.products, dtype)
        return self._tables[dtype]

    @functools.cached_property
    def _tables(self) -> dict[jnp.dtype, Array]:
        return {}

    def gathered(self, table: Array, x: Categories, t: Coefficient) -> Weights:
        """The rows [n + 1, K, ...] of the categories x at times t, [b, ..., K]."""
        return table[per_example(self.place(t), x.ndim), x]

    def onto(self, x: Categories, s: Coefficient, t: Coefficient) -> StateWeights:
        """Columns of the step that arrives at level t."""
        columns = np.stack([np.eye(self.categories), *(step.T for step in self.steps())])
        return self.gathered(jnp.asarray(columns, jnp.result_type(t, float)), x, t)

    def likelihood(self, x: Categories, t: Coefficient) -> Weights:
        """Columns of Q(0, t)."""
        return self.table(jnp.result_type(t, float))[per_example(self.place(t), x.ndim), :, x]

    def marginal(self, x0: Categories, t: Coefficient) -> StateWeights:
        """Rows of Q(0, t)."""
        return self.gathered(self.table(jnp.result_type(t, float)), x0, t)

    def from_data(self, weights: Weights, t: Coefficient) -> StateWeights:
        """The weights times Q(0, t), one product of K numbers with [K, K] a position; all with one where t is one."""
        product = self.table(weights.dtype)[self.place(t)]
        flat = weights.reshape(len(weights), -1, self.categories)
        return jnp.matmul(flat, product, precision="highest").reshape(weights.shape)

    def prior(self) -> Float[Array, " k"]:
        """Each category as likely."""
        return jnp.full(self.categories, 1.0 / self.categories, float)


@dataclasses.dataclass(frozen=True)
class Neighbours(Stepped):
    """A chain of n steps from a category to its neighbours.

    Attributes:
      categories: K.
      betas: the noise of each step, n numbers; `sde_lib.categorical_schedules.chain_betas`.
      kernel: 'gaussian', in which a move by d has a probability in proportion to exp(-(d spacing)^2 / beta) among all
        moves by at most `bands`; 'banded', in which each has beta / K.
      bands: the widest move; None: K - 1.
      published_spacing: whether the spacing of the categories is 255 / (K - 1) times 2 / (K - 1), as in the published
        code, or 2 / (K - 1), that of K grey levels in [-1, 1], which the paper has; the two agree for 256.
      t_min: not used by a chain of levels.
    """

    categories: int
    betas: tuple[float, ...]
    kernel: str = "gaussian"
    bands: int | None = None
    published_spacing: bool = False
    t_min: float = 0.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)
        check("", {"the number of categories": self.categories}, {"the number of categories": CATEGORIES})
        if self.bands is not None and self.bands > self.categories - 1:
            raise ValueError(
                f"sde.bands is {self.bands} of {self.categories} categories; allowed are 1 to {self.categories - 1}, "
                "or None for all"
            )

    @property
    def times(self) -> np.ndarray:
        """(i + 1) / n."""
        return np.arange(1, len(self.betas) + 1) / len(self.betas)

    @functools.cached_property
    def moves(self) -> np.ndarray:
        """The probability of a move by d = 1 - K, ..., K - 1 in each step, [n, 2 K - 1], float64, with 0 for d = 0."""
        k, bands = self.categories, self.bands or self.categories - 1
        d = np.abs(np.arange(1 - k, k))
        within, betas = (d <= bands) & (d > 0), np.asarray(self.betas)[:, None]
        if self.kernel == "banded":
            return np.where(within, betas / k, 0.0)
        spacing = (255.0 if self.published_spacing else k - 1.0) / (k - 1.0) * 2.0 / (k - 1.0)
        likely = np.where(d <= bands, np.exp(-((d * spacing) ** 2) / betas), 0.0)
        return np.where(within, likely / likely.sum(axis=1, keepdims=True), 0.0)

    @functools.cached_property
    def stays(self) -> np.ndarray:
        """The probability of no move from each category in each step, [n, K]: what is left of the row."""
        k = self.categories
        sums = np.concatenate([np.zeros((len(self.betas), 1)), np.cumsum(self.moves, axis=1)], axis=1)
        return 1.0 - (sums[:, 2 * k - 1 - np.arange(k)] - sums[:, k - 1 - np.arange(k)])

    def steps(self) -> list[np.ndarray]:
        """The matrices, float64."""
        k = np.arange(self.categories)
        apart = k[None] - k[:, None] + self.categories - 1
        return [moves[apart] + np.diag(stays) for moves, stays in zip(self.moves, self.stays, strict=True)]

    def onto(self, x: Categories, s: Coefficient, t: Coefficient) -> StateWeights:
        """Columns of the step that arrives at level t, from a row of 2 K - 1 numbers."""
        dtype, k = jnp.result_type(t, float), self.categories
        level = per_example(jnp.maximum(self.place(t) - 1, 0), x.ndim)
        y = jnp.arange(k)
        moved = jnp.asarray(self.moves, dtype)[level[..., None], x[..., None] - y + k - 1]
        return jnp.where(x[..., None] == y, jnp.asarray(self.stays, dtype)[level, x][..., None], moved)


@dataclasses.dataclass(frozen=True)
class Respaced(Stepped):
    """Some of the levels of a chain, with the products of the steps between them as their steps.

    Attributes:
      chain: the chain of which they are.
      levels: the numbers of the levels, rising, the last the chain's own last.

    Raises:
      ValueError: other levels.
    """

    chain: Stepped
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        n = self.chain.num_levels
        if sorted(set(self.levels)) != list(self.levels) or not self.levels or self.levels[-1] != n - 1:
            raise ValueError(
                f"sde: a chain of {n} levels cannot be cut to {self.levels[:8]}; needed are rising numbers of levels, "
                f"the last {n - 1}"
            )

    @property
    def categories(self) -> int:  # type: ignore[override]
        """K."""
        return self.chain.categories

    @property
    def times(self) -> np.ndarray:
        """Those that the levels have in the whole chain."""
        return self.chain.times[list(self.levels)]

    def steps(self) -> list[np.ndarray]:
        """The products of the steps between two levels."""
        steps = list(self.chain.steps())
        starts = [0, *(level + 1 for level in self.levels[:-1])]
        ends = [level + 1 for level in self.levels]
        return [functools.reduce(np.matmul, steps[a:b]) for a, b in zip(starts, ends, strict=True)]
