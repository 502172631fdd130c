"""Which samplers a page shows, from one starting point, and with which settings."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

import samplers
from experiment import Experiment, rules
from samplers import Settings

SOLVING = ("dpmpp_2m", "heun", "ddim")
"""What stands beside the run's own sampler where it follows a score."""
OVER_MASKS = ("unmasking", "maskgit")
OVER_OTHERS = ("categorical_ancestral", "tau_leaping")


def chosen(experiment: Experiment) -> list[Settings]:
    """The settings of the samplers of ``visualize.methods``, or of those that suit the run, its own first.

    The run's own sampler is as the section sampling says. Any other one has ``visualize.evaluations``, and the grid
    that is best for it.

    Raises:
      ValueError: a method that keeps no states on its way, that is not for this run, or that cannot spend so few.
    """
    asked, own = tuple(experiment.config.visualize.methods), experiment.settings.method
    if "ode" in asked:
        raise ValueError(
            f"visualize.methods is {asked}, and 'ode' chooses its steps as it goes and keeps none of them; take "
            "flow_heun or heun, which follow the same flow"
        )
    names = asked or tuple(dict.fromkeys((*_own(own), *_beside(experiment))))
    any_grid = dataclasses.replace(experiment.settings, grid="auto")  # that of a chain is the own sampler's alone
    rules.check(rules.of_samplers(dataclasses.replace(experiment, settings=any_grid), names))
    return [_settings(experiment, name) for name in names]


def _own(method: str) -> tuple[str, ...]:
    """The run's own sampler, or what follows the same flow and keeps its states."""
    return ("flow_heun",) if method == "ode" else (method,)


def _beside(experiment: Experiment) -> tuple[str, ...]:
    """What stands beside the run's own sampler where nothing is asked for."""
    if experiment.of_categories:
        process: Any = experiment.sde
        others = OVER_OTHERS if process.mask is None else OVER_MASKS
        return tuple(name for name in others if _can(experiment, name))
    if experiment.is_consistency_model:
        return ("renoise",)
    if experiment.parameterization.told_end:
        return ("jump",)
    return () if experiment.settings.method in samplers.MAPS else SOLVING


def _can(experiment: Experiment, name: str) -> bool:
    """Whether a sampler over categories can follow the run's chain."""
    try:
        _settings(experiment, name)
    except ValueError:
        return False
    return True


def _settings(experiment: Experiment, name: str) -> Settings:
    """The settings of one sampler, checked to be such as can be carried out."""
    settings, n = experiment.settings, experiment.config.visualize.evaluations
    changes: dict[str, Any] = {"method": name}
    if name != settings.method and name in samplers.CATEGORICAL:
        changes["steps"] = min(n, experiment.sde.num_levels or n)
    elif name != settings.method:
        own = max(1, n - (settings.denoise == "tweedie"))  # without the evaluation that leads to data
        changes |= {"grid": "auto", "evaluations": n, "steps": own}
        changes["flow_steps"] = max(1, own // (1 + name.endswith("heun")))
    changed = dataclasses.replace(settings, **changes)
    if experiment.of_categories:
        process: Any = experiment.sde
        sampler = samplers.create_categorical(process, lambda x, t: jnp.zeros((*x.shape, process.categories)), changed)
        jax.eval_shape(sampler, jax.random.key(0), jnp.zeros((1, *experiment.codec.shape), jnp.int32))
        return changed
    samplers.create(experiment.sde, lambda x, t: x, changed)
    return samplers.settled(experiment.sde, changed)
