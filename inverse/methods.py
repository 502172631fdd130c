"""Every method by name, and what each needs, takes and costs."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from inverse.consistent import consistent
from inverse.dps import dps
from inverse.measurement import LinearMeasurement
from inverse.posterior import posterior_score
from inverse.repaint import repaint
from inverse.replacement import replacement
from samplers.base import Stepper
from sde_lib.preconditioning import Process
from sde_lib.prediction import ScoreFn


def mcg(
    stepper: Stepper, process: Process, score: ScoreFn, measurement: LinearMeasurement, y: Array, *, zeta: float = 1.0
) -> Stepper:
    """Manifold-constrained gradient: `dps`, then `replacement` (Chung et al. 2022, arXiv:2206.00941, Algorithm 1)."""
    return replacement(dps(stepper, process, score, measurement, y, zeta=zeta), process, measurement, y)


def pigdm(
    process: Process, score: Callable, measurement: LinearMeasurement, y: Array, *, data_std: float = 1.0
) -> Callable:
    """`posterior_score` with the covariance of isotropic data."""
    return posterior_score(process, score, measurement, y, covariance="identity", data_std=data_std)


def posterior(
    process: Process, score: Callable, measurement: LinearMeasurement, y: Array, *, iterations: int = 5
) -> Callable:
    """`posterior_score` with the exact covariance."""
    return posterior_score(process, score, measurement, y, iterations=iterations)


@dataclasses.dataclass(frozen=True)
class Method:
    """What one does.

    Attributes:
      wraps: 'score': any sampler follows its score; 'stepper': it acts between steps, which the adaptive ODE has not.
      noisy: whether it takes noisy measurements.
      cost: in evaluations of the network, those of the sampler without it being 1 each.
      function: the wrapper: of 'score' (process, score, measurement, y, **options) -> score, of 'stepper'
        (stepper, process, score, measurement, y, **options) -> stepper, without `score` where it needs none.
    """

    wraps: str
    noisy: bool
    cost: str
    function: Callable

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def stepper(
        self,
        stepper: Stepper,
        process: Process,
        score: ScoreFn,
        measurement: LinearMeasurement,
        y: Array,
        **options: Any,
    ) -> Stepper:
        """The wrapped stepper, of one that wraps steppers."""
        needed = (score,) if "score" in inspect.signature(self.function).parameters else ()
        return self.function(stepper, process, *needed, measurement, y, **options)


METHODS: dict[str, Method] = {
    "replacement": Method("stepper", False, "1", replacement),
    "repaint": Method("stepper", False, "about `resamplings` times the steps (see `repaint.schedule`)", repaint),
    "consistent": Method("score", False, "1", consistent),
    "dps": Method("stepper", True, "1 more a step of the grid, with its backward pass", dps),
    "mcg": Method("stepper", False, "as dps", mcg),
    "pigdm": Method("score", True, "1 and its backward pass", pigdm),
    "posterior": Method("score", True, "1 and up to `iterations` + 1 backward passes", posterior),
}
