"""Diffusers' schedulers that step from level to level of a chain: DDIM and PNDM.

Both step from level i to level i - T // n, T levels of the chain in n steps, which need not be where the next
evaluation is: with the spacing 'linspace', and with 'trailing' where n does not divide T. Below level 0 lies the end:
data, or, with `set_alpha_to_one` False, level 0 again.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
from jaxtyping import Array, Float

from limits import Flag, OneOf, positive, share
from samplers.base import Stepper
from samplers.ddim import ETA
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node, ancestral_step
from samplers.threshold import confined
from samplers.visited import SPACINGS, Course, Scheduler, preserving
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model, PredictFn, Prediction, as_prediction


def _node(noise: float) -> Node:
    """The level with this sigma / alpha of a variance-preserving chain; its time does not matter."""
    alpha, sigma = preserving(noise)
    return Node(math.nan, float(alpha), float(sigma))


@dataclasses.dataclass(frozen=True)
class _LevelScheduler(Scheduler):
    """What both have in common.

    Attributes:
      set_alpha_to_one: whether the last step leads to data; else to level 0.
    """

    timestep_spacing: Annotated[str, OneOf(SPACINGS)] = "leading"
    set_alpha_to_one: Annotated[bool, Flag()] = True

    def _end(self, noise: np.ndarray) -> float:
        return 0.0 if self.set_alpha_to_one else float(noise[0])

    def _reach(self, noise: np.ndarray) -> Callable[[int], Node]:
        """Level -> its node; below level 0 the end's."""
        return lambda level: _node(noise[level] if level >= 0 else self._end(noise))


@dataclasses.dataclass(frozen=True)
class DDIMScheduler(_LevelScheduler):
    """DDIM, x_s = alpha_s x0 + sqrt(sigma_s^2 - v^2) eps + v z with the pipeline's `eta` (see `samplers.ddim`).

    Where x0 is cut off, eps stays as the network says it; `samplers.thresholded` has the eps that goes with the x0.

    Attributes:
      clip_sample: whether x0 is cut off, at plus and minus clip_sample_range.
      thresholding: whether it is by Imagen's rule instead, of the quantile dynamic_thresholding_ratio. That divides by
        at most sample_max_value, and with the default of 1, the only one that there is here, by nothing.
    """

    most_noise = math.inf
    clip_sample: Annotated[bool, Flag()] = True
    clip_sample_range: Annotated[float, positive()] = 1.0
    thresholding: Annotated[bool, Flag()] = False
    dynamic_thresholding_ratio: Annotated[float, share(above=True)] = 0.995
    sample_max_value: Annotated[float, positive()] = 1.0

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0, eta: Annotated[float, ETA] = 0.0) -> Course:
        """The course of n steps without the first `skip`."""
        self._refuse(
            (
                self.thresholding and self.sample_max_value != 1.0,
                f"thresholding with sample_max_value {self.sample_max_value} has no counterpart here; 1 has",
            )
        )
        levels = np.round(self.spaced(len(noise), n)).astype(int)[skip:]
        reach, stride = self._reach(noise), len(noise) // n
        ends = [reach(level - stride) for level in levels]

        def table(grid: list[Node]) -> list[Row]:
            rows = []
            for t, s in zip(grid, ends, strict=False):
                less, added = ancestral_step(t, s, eta)
                rows.append(Row(t, Move(0.0, [less.sigma], added), x0=s.alpha))
            return rows

        def solver(sde: AffineSDE, model: Model) -> Stepper:
            method = Method("eps", noisy=eta > 0.0, out_of_noise=True)
            return linear(sde, self._kept(sde, model), method, table)

        return Course(levels, np.append(noise[levels], self._end(noise)), solver)

    def _kept(self, sde: AffineSDE, model: Model) -> Model:
        """The model whose x0 is cut off and whose eps is not."""
        predict = as_prediction(sde, model)
        if not (self.thresholding or self.clip_sample):
            return predict
        most = 1.0 if self.thresholding else self.clip_sample_range
        cut = confined("clip", low=-most, high=most)

        def function(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
            prediction = predict(x, t)
            return prediction._replace(x0=cut(prediction.x0))

        return PredictFn(predict.process, function)


@dataclasses.dataclass(frozen=True)
class _Call:
    """One evaluation of PNDM: the level that is told, and the step that follows, of the answers so far."""

    told: int
    source: int
    target: int
    answers: tuple[float, ...]  # their coefficients, the newest first
    stays: bool = False  # whether the next step begins where this one began


@dataclasses.dataclass(frozen=True)
class PNDMScheduler(_LevelScheduler):
    """PNDM (Liu et al. 2022, arXiv:2202.09778): DDIM's step with answers combined by Adams-Bashforth's constants.

    It begins with three steps of a Runge-Kutta method, four evaluations each, whose inner ones lie half a stride on; or
    with `skip_prk_steps` (PLMS, as Stable Diffusion's) with one step that is taken again, with the mean of its answer
    and of the one at its end, so that the second level is told twice. Of n steps that are n + 9 or n + 1 evaluations.
    A network that predicts v has its v combined, not the eps that it stands for; one that predicts x0 is refused, as
    there.

    Attributes:
      skip_prk_steps: whether the Runge-Kutta steps are left out.
      prediction_type: what the network predicts.
    """

    set_alpha_to_one: Annotated[bool, Flag()] = False
    skip_prk_steps: Annotated[bool, Flag()] = False
    prediction_type: Annotated[str, OneOf(("epsilon", "v_prediction"))] = "epsilon"

    def course(self, noise: np.ndarray, n: int, *, skip: int = 0) -> Course:
        """The course of n steps without the first `skip`; it begins with its own beginning wherever it does.

        Departure: of a course begun halfway diffusers takes the first steps of its list, in which one stands twice.
        """
        self._refuse(
            (
                not self.skip_prk_steps and n - skip < 4,
                f"{n - skip} steps with skip_prk_steps False, whose Runge-Kutta beginning needs 4; take more",
            )
        )
        levels = np.round(self.spaced(len(noise), n)).astype(int)[skip:]
        calls, reach = self._calls([int(level) for level in levels], len(noise) // n), self._reach(noise)
        told = np.array([call.told for call in calls])
        prediction = "v" if self.prediction_type == "v_prediction" else "eps"

        def table(grid: list[Node]) -> list[Row]:
            rows = []
            for t, call in zip(grid, calls, strict=False):
                source, target = reach(call.source), reach(call.target)
                keep = target.alpha / source.alpha
                of_eps = target.sigma - keep * source.sigma
                if prediction == "v":  # eps = alpha v + sigma x at the source
                    keep, of_answers = keep + of_eps * source.sigma, of_eps * source.alpha
                else:
                    of_answers = of_eps
                move = Move(keep, [of_answers * a for a in call.answers])
                rows.append(Row(t, move, Move(1.0) if call.stays else None, ends=not call.stays))
            return rows

        def solver(sde: AffineSDE, model: Model) -> Stepper:
            memory = max(len(call.answers) for call in calls)
            return linear(sde, model, Method(prediction, memory, stages=True, multistep=True), table)

        return Course(told, np.append(noise[told], self._end(noise)), solver)

    def _calls(self, levels: list[int], stride: int) -> list[_Call]:
        """The evaluations, in order."""
        calls: list[_Call] = []
        kept: list[int] = []  # the numbers of the calls whose answers Adams-Bashforth combines, the newest last
        if not self.skip_prk_steps:
            half = stride // 2
            for first, last in itertools.pairwise(levels[:4]):
                kept.append(len(calls))
                calls.append(_Call(first, first, first - half, (1.0,), stays=True))
                calls.append(_Call(last + half, first, last + half, (1.0,), stays=True))
                calls.append(_Call(last + half, first, last, (1.0,), stays=True))
                calls.append(_Call(last, first, last, (1 / 6, 1 / 3, 1 / 3, 1 / 6)))
            levels = levels[3:]
        for i, level in enumerate(levels):
            kept = [*kept[-3:], len(calls)]
            again = self.skip_prk_steps and i == 0 and len(levels) > 1
            calls.append(_Call(level, level, level - stride, self._combined(len(calls), kept), stays=again))
            if again:  # the same step, with the mean of both ends
                calls.append(_Call(levels[1], levels[1] + stride, levels[1], (0.5, 0.5)))
        return calls

    @staticmethod
    def _combined(now: int, kept: list[int]) -> tuple[float, ...]:
        """Coefficients of the answers before and at call `now`, newest first, of which those `kept` count."""
        constants = [(1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24)]
        found = [0.0] * (now - kept[0] + 1)
        for number, constant in zip(reversed(kept), constants[len(kept) - 1], strict=True):
            found[now - number] = constant
        return tuple(found)
