"""Diffusers' schedulers that step in the noise sigma / alpha: Euler, Heun, DPM-Solver and UniPC, on its own tables.

There x is scaled as in VE, or as here; it is here in both cases, x / sqrt(1 + noise^2) of the former.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from limits import Flag, Maybe, Number, OneOf, Several, Text, positive, share, whole
from samplers.base import Stepper
from samplers.ddim import ddim
from samplers.dpm_solver import dpm_solver
from samplers.runge_kutta import heun
from samplers.threshold import thresholded
from samplers.unipc import unipc
from samplers.visited import Course, Scheduler
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model

KARRAS = 7.0
"""The power of the grid of Karras et al. 2022 (arXiv:2206.00364, eq. 5)."""


def _karras(high: float, low: float, n: int) -> np.ndarray:
    return np.linspace(high ** (1 / KARRAS), low ** (1 / KARRAS), n) ** KARRAS


def _geometric(high: float, low: float, n: int) -> np.ndarray:
    return np.exp(np.linspace(np.log(high), np.log(low), n))


ALMOST_NOISE = (2.0**24 - 1.0) ** 0.5
"""The sigma / alpha that a level without signal has for schedulers that divide by alpha: alpha^2 is 2^-24 there."""


def _start(spacing: str, noise: np.ndarray) -> float:
    """The deviation at which a scheduler in VE's scale begins, in this one: noise N or, 'leading', sqrt(N^2 + 1)."""
    return 1.0 if spacing == "leading" else float(noise[0] / np.hypot(1.0, noise[0]))


@dataclasses.dataclass(frozen=True)
class EulerAncestralDiscreteScheduler(Scheduler):
    """Euler's steps with ancestral noise: DDIM with eta 1."""

    most_noise = ALMOST_NOISE

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps without the first `skip`."""
        told = self.spaced(len(noise), n)[skip:]
        visited = np.interp(told, np.arange(len(noise)), noise)
        start = _start(self.timestep_spacing, visited)
        return Course(told, np.append(visited, 0.0), functools.partial(ddim, eta=1.0), start)


@dataclasses.dataclass(frozen=True)
class _NoiseScheduler(Scheduler):
    """One whose noise may be spaced in other ways than by levels.

    Attributes:
      use_karras_sigmas: whether it is spaced as by Karras et al. 2022.
      use_exponential_sigmas: whether it falls geometrically.
      use_beta_sigmas: whether it has the quantiles of a beta distribution, which is refused here.
    """

    use_karras_sigmas: Annotated[bool, Flag()] = False
    use_exponential_sigmas: Annotated[bool, Flag()] = False
    use_beta_sigmas: Annotated[bool, Flag()] = False

    def _check(self) -> None:
        others = [name for name in vars(self) if name.startswith("use_") and getattr(self, name)]
        self._refuse(
            (self.use_beta_sigmas, "use_beta_sigmas True has no counterpart here; use_karras_sigmas has"),
            (len(others) > 1, f"{' and '.join(others)} are True, and one at most may be"),
        )

    def _respaced(self, high: float, low: float, n: int) -> np.ndarray | None:
        """The noise of n points between these, where it is not spaced by levels."""
        if self.use_karras_sigmas:
            return _karras(high, low, n)
        return _geometric(high, low, n) if self.use_exponential_sigmas else None


def _told(visited: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The levels with this noise, a fraction by its logarithm between two of them."""
    return np.interp(np.log(visited), np.log(noise), np.arange(len(noise)))


@dataclasses.dataclass(frozen=True)
class _VEScheduler(_NoiseScheduler):
    """Euler's and Heun's: levels in fractions, and the noise respaced between the first and the last of them."""

    def _points(
        self, noise: np.ndarray, n: int, high: float | None = None, low: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Levels and noise of n points."""
        self._check()
        told = self.spaced(len(noise), n)
        visited = np.interp(told, np.arange(len(noise)), noise)
        respaced = self._respaced(high or visited[0], low or visited[-1], n)
        return (told, visited) if respaced is None else (_told(respaced, noise), respaced)


FINAL = OneOf(("zero", "sigma_min"))


@dataclasses.dataclass(frozen=True)
class EulerDiscreteScheduler(_VEScheduler):
    """Euler's method in sigma / alpha, without churn, which is DDIM; it tells the network fractions of levels.

    It steps as `samplers.ddim` here, by x0, which keeps its digits where alpha is small.

    Attributes:
      final_sigmas_type: whether the last step is to data or to level 0.
      sigma_min, sigma_max: the ends of a noise that is not spaced by levels, in place of its own.
      interpolation_type: "linear" alone.
      timestep_type: "discrete" alone.
    """

    most_noise = ALMOST_NOISE

    final_sigmas_type: Annotated[str, FINAL] = "zero"
    sigma_min: Annotated[float | None, Maybe(positive())] = None
    sigma_max: Annotated[float | None, Maybe(positive())] = None
    interpolation_type: Annotated[str, OneOf(("linear",))] = "linear"
    timestep_type: Annotated[str, OneOf(("discrete",))] = "discrete"

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps without the first `skip`."""
        told, visited = (points[skip:] for points in self._points(noise, n, self.sigma_max, self.sigma_min))
        end = 0.0 if self.final_sigmas_type == "zero" else float(noise[0])
        return Course(told, np.append(visited, end), ddim, _start(self.timestep_spacing, visited))


@dataclasses.dataclass(frozen=True)
class HeunDiscreteScheduler(_VEScheduler):
    """Heun's method in sigma / alpha; of n steps 2 n - 1 evaluations.

    Attributes:
      clip_sample: whether x0 is cut off, at plus and minus clip_sample_range, with the eps that goes with it.
    """

    clip_sample: Annotated[bool, Flag()] = False
    clip_sample_range: Annotated[float, positive()] = 1.0

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps without the first `skip`."""
        told, visited = (points[skip:] for points in self._points(noise, n))
        most, rule = self.clip_sample_range, "clip" if self.clip_sample else "none"

        def solver(sde: AffineSDE, model: Model) -> Stepper:
            return heun(sde, thresholded(sde, model, rule, low=-most, high=most))

        return Course(told, np.append(visited, 0.0), solver, _start(self.timestep_spacing, visited))


@dataclasses.dataclass(frozen=True)
class _MultistepScheduler(_NoiseScheduler):
    """DPM-Solver's and UniPC's: whole levels, and the noise respaced between the ends of the chain.

    Attributes:
      solver_order: of the method.
      final_sigmas_type: whether the last step is to data or to level 0.
      lower_order_final: whether the last steps have lower orders, of DPM-Solver in runs of fewer than 15.
      thresholding: whether x0 is kept in range by Imagen's rule. That divides by at most sample_max_value, and with the
        default of 1, the only one that there is here, it cuts off at plus and minus 1.
      use_flow_sigmas: whether the process is a flow's, which is refused.
    """

    most_noise = ALMOST_NOISE

    solver_order: Annotated[int, whole(1, 4)] = 2
    final_sigmas_type: Annotated[str, FINAL] = "zero"
    lower_order_final: Annotated[bool, Flag()] = True
    thresholding: Annotated[bool, Flag()] = False
    dynamic_thresholding_ratio: Annotated[float, share(above=True)] = 0.995
    sample_max_value: Annotated[float, positive()] = 1.0
    use_flow_sigmas: Annotated[bool, Flag()] = False

    def _points(self, noise: np.ndarray, n: int, below: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Levels and noise of n points."""
        self._check()
        self._refuse(
            (self.use_flow_sigmas, "use_flow_sigmas True: the straight path of flow matching is no chain"),
            (
                self.thresholding and self.sample_max_value != 1.0,
                f"thresholding with sample_max_value {self.sample_max_value} has no counterpart here; 1 has",
            ),
        )
        respaced = self._respaced(float(noise[-1]), float(noise[0]), n)
        if respaced is None:
            told = np.round(self.spaced(len(noise), n, ahead=True, below=below))
            return told, noise[told.astype(int)]
        told = _told(respaced, noise)
        return np.trunc(told) if self._lower() else np.round(told), respaced

    def _lower(self) -> bool:
        """Whether a level between two is told as the lower one; else as the nearer."""
        return self.use_exponential_sigmas

    def _model(self, sde: AffineSDE, model: Model) -> Model:
        return thresholded(sde, model, "clip" if self.thresholding else "none")

    def _end(self, noise: np.ndarray) -> float:
        return 0.0 if self.final_sigmas_type == "zero" else float(noise[0])


@dataclasses.dataclass(frozen=True)
class DPMSolverMultistepScheduler(_MultistepScheduler):
    """Multistep DPM-Solver and DPM-Solver++ of order 1 to 3, as published (see `samplers.dpm_solver`).

    Attributes:
      algorithm_type: "dpmsolver++", in x0; "dpmsolver", in eps; "sde-dpmsolver++", with noise.
      solver_type: of order 2.
      euler_at_final: whether the last step is of order 1 however many there are.
      use_lu_lambdas: whether the noise falls geometrically, the network told the nearest level.
      lambda_min_clipped: log(alpha / sigma) of the noisiest level that is visited at the most; None: no limit.
      beta_schedule: of the chain; where it is the cosine, levels between two are told as the lower one, not the nearer.
    """

    solver_order: Annotated[int, whole(1, 3)] = 2
    algorithm_type: Annotated[str, OneOf(("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "deis"))] = "dpmsolver++"
    solver_type: Annotated[str, OneOf(("midpoint", "heun", "logrho", "bh1", "bh2"))] = "midpoint"
    euler_at_final: Annotated[bool, Flag()] = False
    use_lu_lambdas: Annotated[bool, Flag()] = False
    lambda_min_clipped: Annotated[float | None, Maybe(Number())] = None
    beta_schedule: Annotated[str, Text()] = "linear"

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps without the first `skip`."""
        in_eps, to_data = self.algorithm_type == "dpmsolver", self.final_sigmas_type == "zero"
        self._refuse(
            (
                in_eps and to_data,
                "final_sigmas_type 'zero' is not for algorithm_type 'dpmsolver', which diffusers refuses too; write "
                "'sigma_min' into the json",
            ),
            (
                self.euler_at_final and not to_data and not (self.lower_order_final and n < 15),
                "euler_at_final with final_sigmas_type 'sigma_min' has no counterpart here; 'zero' has",
            ),
        )
        least = self.lambda_min_clipped
        reach = 0 if least is None else int(np.sum(-np.log(noise) >= least))
        told, visited = (points[skip:] for points in self._points(noise, n, reach))

        def solver(sde: AffineSDE, model: Model) -> Stepper:
            return dpm_solver(
                sde,
                self._model(sde, model),
                order=self.solver_order,
                prediction="eps" if in_eps else "x0",
                eta=float(self.algorithm_type.startswith("sde")),
                taylor=self.solver_type == "heun",
                published=True,
                lower_order_final=15 if self.lower_order_final and n < 15 else 0,
            )

        return Course(told, np.append(visited, self._end(noise)), solver)

    def _respaced(self, high: float, low: float, n: int) -> np.ndarray | None:
        return _geometric(high, low, n) if self.use_lu_lambdas else super()._respaced(high, low, n)

    def _lower(self) -> bool:
        return super()._lower() or self.beta_schedule == "squaredcos_cap_v2"


@dataclasses.dataclass(frozen=True)
class UniPCMultistepScheduler(_MultistepScheduler):
    """UniPC (see `samplers.unipc`).

    Attributes:
      solver_type: B(h), "bh1" or "bh2"; other schedulers' names stand for "bh2".
      predict_x0: whether it steps in x0; else in eps.
      disable_corrector: the steps that are not corrected, which must be the first ones here.
      solver_p: another scheduler as the predictor, which is refused.
    """

    solver_type: Annotated[str, OneOf(("bh1", "bh2", "midpoint", "heun", "logrho"))] = "bh2"
    predict_x0: Annotated[bool, Flag()] = True
    disable_corrector: Annotated[Sequence[int], Several(whole(0))] = ()
    solver_p: Annotated[None, Maybe(OneOf(()))] = None

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps without the first `skip`."""
        told, visited = (points[skip:] for points in self._points(noise, n))
        to_data, without = self.final_sigmas_type == "zero", len(self.disable_corrector)
        self._refuse(
            (
                to_data and (self.solver_type == "bh1" or not self.predict_x0),
                f"solver_type {self.solver_type!r}, predict_x0 {self.predict_x0} and final_sigmas_type 'zero', whose "
                "last step is NaN in diffusers; write 'sigma_min' into the json",
            ),
            (
                to_data and not self.lower_order_final and self.solver_order > 1,
                "lower_order_final False and final_sigmas_type 'zero', whose last step is NaN in diffusers",
            ),
            (
                sorted(self.disable_corrector) != list(range(without)),
                f"disable_corrector is {self.disable_corrector}; the steps without it must be the first ones here",
            ),
        )

        def solver(sde: AffineSDE, model: Model) -> Stepper:
            return unipc(
                sde,
                self._model(sde, model),
                order=self.solver_order,
                prediction="x0" if self.predict_x0 else "eps",
                variant="bh1" if self.solver_type == "bh1" else "bh2",
                lower_order_final=self.lower_order_final,
                uncorrected=max(without - skip, 0),
            )

        end = float(visited[-1]) if self._respaced(1.0, 0.5, n) is not None and not to_data else self._end(noise)
        return Course(told, np.append(visited, end), solver)
