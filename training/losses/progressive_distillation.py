"""Progressive distillation (Salimans and Ho 2022, arXiv:2202.00512): one step of the student does two of its teacher.

On a grid of N steps the student learns, of a point x_t, the denoised point x~ from which one DDIM step leads where two
steps of the teacher's lead, through the middle m of the step from t to s. In units of the noise a DDIM step adds to
x / sigma what alpha / sigma grows by, times the denoised point. So with the teacher's denoised points x1 at t and x2 at
m

    x~ = x1 + w (x2 - x1),        w = (a_s - a_m) / (a_s - a_t),        a = alpha / sigma,

which is their eq. 7 without its division by what is nearly 0 for small steps; in the step to data w is 1. w is computed
in float64 once for each step of the grid.

    loss = weight(t) SNR(t) mean |x0_hat - x~|^2

with the weight on eps of `training.weighting`: "truncated_snr" is theirs, max(SNR, 1) on x0. Where alpha is 0 the
weight is that of the time just below.

One run halves the number of steps. The next one has its folder as ``training.teacher`` and ``training.begin_with``,
and half the ``training.distilled_steps``.
"""

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import samplers
from experiment.ranges import FIELDS
from samplers.create import grid, stepper_of
from samplers.nodes import Node, nodes
from sde_lib import AffineSDE, PredictFn, expand, of_score
from sde_lib.jump import reached
from sde_lib.prediction import along, before_noise
from training.examples import Examples
from training.losses.base import Loss
from training.model import Scores, TrainedModel
from training.times import uniform_numbers
from training.weighting import Weighting

Image = Float[Array, "b *d"]


class Steps(NamedTuple):
    """The steps of a grid, each through its middle: times t > m > s and the share w of the second half.

    They are float64 arrays [n] of all steps, or those of a batch's examples, [b].
    """

    t: Any
    middle: Any
    s: Any
    share: Any

    @classmethod
    def of(cls, process: AffineSDE, times: np.ndarray) -> "Steps":
        """Return those of a grid of 2 n + 1 times, whose last may be 0, which is data."""

        def ratio(node: Node) -> float:
            return node.alpha / node.sigma if node.sigma > 0.0 else np.inf

        a = np.array([ratio(node) for node in nodes(process, times)])
        t, middle, s = a[:-2:2], a[1:-1:2], a[2::2]
        to_data = np.isinf(s)
        share = np.where(to_data, 1.0, (s - middle) / np.where(to_data, 1.0, s - t))
        return cls(times[:-2:2], times[1:-1:2], times[2::2], share)


def target(process: AffineSDE, teacher: PredictFn, x: Image, step: Steps) -> Image:
    """Return x~ of points x at the beginnings of these steps, [b] each; two evaluations of the teacher.

    A teacher that is told where a jump ends jumps to the middle, and from there to the end.
    """
    first = teacher(x, step.t, step.middle)
    second = teacher(reached(process, first, step.middle), step.middle, step.s)
    return first.x0 + expand(step.share, x) * (second.x0 - first.x0)


@dataclasses.dataclass(frozen=True, eq=False)
class ProgressiveDistillation(Loss):
    """The loss of the module's description, of a network of any prediction, on any process.

    Attributes:
      weighting: the weight on the error of eps.
      distilled_steps: N, the steps of the student, which are drawn equally often. The grid is that of the sampler
        ``jump`` at N evaluations with its other settings at their defaults, and the teacher's has a time between each
        two of its: a student is sampled by that sampler, whose steps are DDIM's.
      stratified: whether each of B equal strata of a global batch gives one step, instead of B independent draws.

    Raises:
      ValueError: noise levels, whose chain has steps of its own; when it is called, a model without a teacher.
    """

    process: AffineSDE
    weighting: Weighting = Weighting()
    distilled_steps: Annotated[int, FIELDS["training.distilled_steps"]] = 4
    stratified: Annotated[bool, FIELDS["training.stratified"]] = False
    of_levels = False
    takes_teacher = True
    needs_teacher = True

    @functools.cached_property
    def steps(self) -> Steps:
        """The steps of the student's grid."""
        settings = samplers.Settings(method="jump", evaluations=2 * self.distilled_steps)
        sampler = stepper_of(self.process, of_score(self.process, lambda x, t: x), settings)
        return Steps.of(self.process, grid(self.process, sampler, settings))

    def at(self, model: TrainedModel, examples: Examples, index: Int[Array, " b"], eps: Image) -> Scores:
        """Return the loss of examples with this noise in these steps: one evaluation, and two of the teacher."""
        x0, process = examples.x0, self.process
        if model.teacher is None:
            raise ValueError("training.loss is 'progressive_distillation', and the model has no teacher; give it one")
        step = Steps(*(jnp.asarray(of_all, x0.dtype)[index] for of_all in self.steps))
        mean, std = process.marginal(x0, step.t)
        x = mean + expand(std, x0) * eps
        wanted = target(process, along(process, model.teacher), x, step)
        found = model.predict_fn(process)(x, step.t, step.s).x0
        t = before_noise(process, step.t)
        weight = self.weighting(process, t).on_x0(jnp.exp(process.log_snr(t)))
        return {"loss": weight * jnp.mean(jnp.square(found - wanted).reshape(len(x), -1), axis=1)}

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the loss of each example in a drawn step."""
        draws, n = examples.draws, self.distilled_steps
        index = jnp.minimum((uniform_numbers(draws, self.stratified) * n).astype(int), n - 1)
        return self.at(model, examples, index, draws.eps(examples.x0))
