"""Every method by name, and what each needs, takes and costs."""

import dataclasses
import inspect
from collections.abc import Callable

from jaxtyping import Array

from inverse.blend import blend
from inverse.consistent import consistent
from inverse.dps import dps
from inverse.measurement import LinearMeasurement
from inverse.posterior import posterior_score
from inverse.repaint import repaint
from inverse.replacement import replacement
from samplers.base import Stepper
from sde_lib.base import Process
from sde_lib.prediction import Model, PredictFn, as_prediction


def mcg(
    stepper: Stepper, process: Process, model: Model, measurement: LinearMeasurement, y: Array, *, zeta: float = 1.0
) -> Stepper:
    """Manifold-constrained gradient: `dps`, then `replacement` (Chung et al. 2022, arXiv:2206.00941, Algorithm 1)."""
    return replacement(dps(stepper, process, model, measurement, y, zeta=zeta), process, model, measurement, y)


def pigdm(
    process: Process, model: Model, measurement: LinearMeasurement, y: Array, *, data_std: float = 1.0
) -> PredictFn:
    """`posterior_score` with the covariance of isotropic data."""
    return posterior_score(process, model, measurement, y, covariance="identity", data_std=data_std)


def told(process: Process, model: Model, measurement: LinearMeasurement, y: Array) -> PredictFn:
    """The predictions as they are, of a network that is told what is known and so is not led."""
    return as_prediction(process, model)


def posterior(
    process: Process, model: Model, measurement: LinearMeasurement, y: Array, *, iterations: int = 5
) -> PredictFn:
    """`posterior_score` with the exact covariance."""
    return posterior_score(process, model, measurement, y, iterations=iterations)


@dataclasses.dataclass(frozen=True)
class Method:
    """What one does.

    Attributes:
      wraps: 'model': any sampler follows its predictions; 'stepper': it acts between steps, which the adaptive ODE has
        not.
      noisy: whether it takes noisy measurements.
      exact: whether in the end what was measured without noise is made to be so to the last bit.
      cost: in evaluations of the network, those of the sampler without it being 1 each.
      function: the wrapper: of 'model' (process, model, measurement, y, **options) -> predictions, of 'stepper'
        (stepper, process, model, measurement, y, **options) -> stepper.
    """

    wraps: str
    noisy: bool
    cost: str
    function: Callable
    exact: bool = True

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


METHODS: dict[str, Method] = {
    "replacement": Method("stepper", False, "1", replacement),
    "repaint": Method("stepper", False, "about `resamplings` times the steps (see `repaint.step_order`)", repaint),
    "consistent": Method("model", False, "1", consistent),
    "dps": Method("stepper", True, "1 more a step of the grid, with its backward pass", dps),
    "mcg": Method("stepper", False, "as dps", mcg),
    "pigdm": Method("model", True, "1 and its backward pass", pigdm),
    "blend": Method("stepper", False, "1", blend),
    "told": Method("model", True, "1", told, exact=False),
    "posterior": Method("model", True, "1 and up to `iterations` + 1 backward passes", posterior),
}
"""The ways to follow a measurement, by name."""
