"""Schedulers of diffusers as samplers: from the text of a scheduler_config.json and a number of steps to a course.

They are for comparison with that program, evaluation for evaluation; the solvers of `samplers.methods` are as good or
better, and go with every process and grid.
"""

import dataclasses
import json
import math
from typing import Any

import numpy as np

import limits
from samplers.level_schedulers import DDIMScheduler, PNDMScheduler
from samplers.noise_schedulers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from samplers.visited import Course, Scheduler, Visited
from sde_lib.base import AffineSDE

SCHEDULERS: dict[str, type[Scheduler]] = {
    kind.__name__: kind
    for kind in (
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        HeunDiscreteScheduler,
        PNDMScheduler,
        UniPCMultistepScheduler,
    )
}
"""Diffusers' schedulers by the names of their classes."""


def of_json(name: str, text: str) -> Scheduler:
    """The scheduler of that class with what the text of a scheduler_config.json says; null is the class's default.

    Raises:
      ValueError: no text, one that is no JSON of fields, or a field out of its range.
    """
    if not text:
        raise ValueError(
            f"{name} is built from the scheduler_config.json of an imported folder, which this run has not kept "
            "(sampling.scheduler_config is ''); import the folder, or leave --config out, so that the config that the "
            "run has saved is used"
        )
    try:
        written = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"sampling.scheduler_config is no JSON: {error}; import the folder anew") from None
    if not isinstance(written, dict):
        raise ValueError(f"sampling.scheduler_config is {limits.shown(text)}; needed are fields by name")
    own = {field.name for field in dataclasses.fields(SCHEDULERS[name])}
    given = {field: value for field, value in written.items() if field in own and value not in (None, -math.inf)}
    scheduler = SCHEDULERS[name](**given)
    limits.check_declared(f"{name}: ", scheduler)
    return scheduler


def course(
    sde: AffineSDE, name: str, text: str, n: int, *, start: float = 1.0, **options: Any
) -> tuple[Visited, np.ndarray, Course]:
    """The chain as n steps of the scheduler visit it, the times of its points and of the end, and the course.

    Args:
      sde: the process whose levels the chain has.
      name: one of SCHEDULERS.
      text: a scheduler_config.json.
      n: steps.
      start: the share of the steps that are taken, the last int(n start) of them.
      options: what a pipeline passes on: eta.

    Raises:
      ValueError: as `of_json`; a share of less than a step; another number of levels than the process has; or what the
        scheduler refuses.
    """
    scheduler, taken = of_json(name, text), min(int(n * start), n)
    if taken < 1:
        raise ValueError(
            f"{name}: of its {n} steps a share of {start} is less than one; raise the strength, or take more steps "
            "(sampling.steps)"
        )
    found = scheduler.course(scheduler.noise(sde), n, skip=n - taken, **options)
    to_data = found.noise[-1] == 0.0
    noise = found.noise[:-1] if to_data else found.noise
    told = found.told if to_data else np.append(found.told, found.told[-1])
    process = Visited(chain=sde, told=tuple(map(float, told)), noise=tuple(map(float, noise)), start=found.start)
    return process, np.append(process.times, 0.0) if to_data else process.times, found
