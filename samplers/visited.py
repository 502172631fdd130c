"""A chain as another program's sampler visits it: the noise at each of its steps, and what the network is told there.

Such a program keeps a table of the noise of its steps and one of the levels that it tells the network. They need not
agree: DPM-Solver on Karras' noise tells the nearest whole level, and Euler on a linear spacing a fraction of one, with
a noise interpolated in its own way. As a process of its own, with the noise of the one table and the levels of the
other, a chain so visited is followed by the solvers here as any process is.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from limits import OneOf, whole
from samplers.base import Stepper
from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.prediction import Model

SPACINGS = ("linspace", "leading", "trailing")


class Course(NamedTuple):
    """What a scheduler makes of a number of steps, or of the last of them.

    Attributes:
      told: the level that the network is told at each of its evaluations, a fraction where the program tells one.
      noise: sigma / alpha at each evaluation and, one number more, at the end of the last step; 0 there is data, and
        infinity a level without signal.
      solver: (sde, model) -> `Stepper`, on the grid of these points.
      start: the deviation of x at the first point, of unit-normal noise that the user gives.
    """

    told: np.ndarray
    noise: np.ndarray
    solver: Callable[[AffineSDE, Model], Stepper]
    start: float = 1.0


@dataclasses.dataclass(frozen=True)
class Scheduler(abc.ABC):
    """How diffusers builds a scheduler of that class from a scheduler_config.json, and steps through it.

    A class here has the name and the defaults of the one there (diffusers 0.42), and those of its fields that say how
    it steps. `from_config` there passes on what the file says, and nothing else: a field that a file leaves out has the
    default of the class that is built, whatever class wrote the file.

    Attributes:
      num_train_timesteps: the levels of the chain.
      timestep_spacing: how the levels are spaced: both ends, the clean end, or the noisy end.
      steps_offset: what is added to the levels of 'leading'.
      most_noise: the sigma / alpha that it takes a level without signal to have; None where it steps from none.
    """

    most_noise: ClassVar[float | None] = None
    num_train_timesteps: Annotated[int, whole(2)] = 1000
    timestep_spacing: Annotated[str, OneOf(SPACINGS)] = "linspace"
    steps_offset: Annotated[int, whole(0, 1_000_000)] = 0

    def noise(self, sde: AffineSDE) -> np.ndarray:
        """sigma / alpha of each level of the process's chain, the cleanest first, as this scheduler takes it.

        Raises:
          ValueError: another number of levels than the process has, or one without signal where it steps from none.
        """
        levels = self.num_train_timesteps
        self._refuse(
            (
                sde.num_levels not in (0, levels),
                f"num_train_timesteps is {levels}, and the chain has {sde.num_levels} levels",
            )
        )
        alpha, sigma = sde.levels(levels)
        signal = alpha > 0.0
        self._refuse(
            (
                self.most_noise is None and not signal.all(),
                "the chain's last level has no signal (zero terminal SNR), from which it cannot step; take "
                "DDIMScheduler, EulerDiscreteScheduler or DPMSolverMultistepScheduler",
            )
        )
        return np.where(signal, sigma / np.where(signal, alpha, 1.0), self.most_noise or 0.0)

    @abc.abstractmethod
    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps over a chain with this sigma / alpha [levels], the cleanest first.

        Of the first `skip` of them it is left out, so that it begins halfway, as it would begin anywhere.

        Raises:
          ValueError: fields with which this scheduler cannot step so, or whose steps have no counterpart here.
        """

    def _refuse(self, *why: tuple[bool, str]) -> None:
        """ValueError with the first reason that holds."""
        for holds, message in why:
            if holds:
                raise ValueError(f"{type(self).__name__}: {message}")

    def spaced(self, levels: int, n: int, *, ahead: bool = False, below: int = 0) -> np.ndarray:
        """The n levels of a chain of so many, noisiest first, 'linspace' in fractions.

        With `ahead` those of n + 1, without the cleanest (DPM-Solver's and UniPC's, whose last step is to data). With
        `below` the noisiest is the last of so many.

        Raises:
          ValueError: more steps than levels, or an offset that leads beyond the noisiest level.
        """
        more, reach = n + ahead, below or levels
        found: np.ndarray
        self._refuse((more > reach, f"{n} steps of a chain of {reach} levels; allowed are 1 to {reach - ahead}"))
        if self.timestep_spacing == "linspace":
            found = np.linspace(0, reach - 1, more)[::-1]
        elif self.timestep_spacing == "leading":
            found = (np.arange(more) * (reach // more) + self.steps_offset)[::-1]
        else:
            found = np.round(np.arange(reach, 0, -levels / n)) - 1
        found = found[:n].astype(np.float64)
        top = found.max()
        self._refuse(
            (len(found) != n, f"timestep_spacing 'trailing' gives {len(found)} of {n} steps; take another number"),
            (
                top > levels - 1,
                f"steps_offset {self.steps_offset} and {n} steps lead to level {top:.0f} of a chain whose noisiest is "
                f"{levels - 1}; take fewer steps",
            ),
        )
        return found


def preserving(noise: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """alpha and sigma with alpha^2 + sigma^2 = 1 and this sigma / alpha, which may be infinite."""
    alpha = 1.0 / np.hypot(1.0, noise)
    return alpha, np.where(alpha > 0.0, np.where(alpha > 0.0, noise, 0.0) * alpha, 1.0)


@dataclasses.dataclass(frozen=True)
class Visited(AffineSDE):
    """A variance-preserving chain at the points of a course, evenly apart in time.

    Between two points alpha and sigma are those of the straight line from one pair to the other, on the unit circle.

    The k-th of m points lies at t = 1 - k / m, and data at t = 0.

    Attributes:
      chain: the process whose levels they are.
      told: the level that a network is told at each point.
      noise: sigma / alpha at each point, infinite at one without signal.
      start: the deviation of its prior, the x at which it begins.
    """

    chain: AffineSDE = dataclasses.field(kw_only=True)
    told: tuple[float, ...] = dataclasses.field(kw_only=True)
    noise: tuple[float, ...] = dataclasses.field(kw_only=True)
    start: float = dataclasses.field(kw_only=True)
    noise_exponent: ClassVar[float] = 0.5

    @functools.cached_property
    def times(self) -> np.ndarray:
        """The times of the points, falling."""
        return 1.0 - np.arange(len(self.noise)) / len(self.noise)

    def _at(self, t: Coefficient, values: Any, at_data: float = 0.0) -> Array:
        dtype = jnp.result_type(t, float)
        rising = np.append(0.0, self.times[::-1]), np.append(at_data, np.array(values)[::-1])
        return jnp.interp(jnp.asarray(t, dtype), *(jnp.asarray(numbers, dtype) for numbers in rising))

    def _pair(self, t: Coefficient) -> tuple[Array, Array]:
        alpha, sigma = preserving(np.array(self.noise))
        a, s = self._at(t, alpha, at_data=1.0), self._at(t, sigma)
        length = jnp.hypot(a, s)
        return a / length, s / length

    def alpha(self, t: Coefficient) -> Coefficient:
        """1 / sqrt(1 + noise^2) at a point."""
        return self._pair(t)[0]

    def sigma(self, t: Coefficient) -> Coefficient:
        """noise / sqrt(1 + noise^2) at a point."""
        return self._pair(t)[1]

    @property
    def prior_std(self) -> float:
        """That of x at the first point as the program begins, which may be a little off sigma there."""
        return self.start

    @property
    def num_levels(self) -> int:
        """Those of the chain."""
        return self.chain.num_levels

    def levels(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Those of the chain."""
        return self.chain.levels(n)

    def discretization(self, n: int, t: Coefficient) -> Kernel:
        """A course is no published chain, and has no such kernels."""
        raise ValueError("a scheduler's course has no kernels of a published chain")

    def level_position(self, t: Coefficient, n: int) -> Coefficient:
        """The level that the network is told."""
        return self._at(t, self.told)
