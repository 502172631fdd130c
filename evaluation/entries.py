"""What a comparison draws of one run: methods, each on a grid, at so many evaluations.

A run is compared by the kinds of samplers that its own config names, ``eval.samplers`` (or else ``sampling.method``).
One that names a solver has a probability flow, and is drawn from by the entries of ``eval.compare`` at each of
``eval.compare_evaluations``. One that names a map (`samplers.MAPS`) is drawn from by ``eval.compare_maps`` at each of
``eval.compare_maps_evaluations``. One that names both is drawn from by both.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

import samplers
from experiment import Experiment, rules
from samplers import Settings
from samplers.grids import ONE_LENGTH
from samplers.methods import STOCHASTIC, STOCHASTIC_MAPS
from samplers.shared import least, spending
from sde_lib import AffineSDE

FLOW_TOLERANCE = 1e-5
"""The tolerance of the flow against which deterministic samplers are measured."""


class Entry(NamedTuple):
    """One sampler on one grid: its name, its budget of evaluations, and the settings that spend it."""

    name: str
    budget: int
    settings: Settings


def _own(experiment: Experiment) -> tuple[str, ...]:
    return tuple(experiment.config.eval.samplers) or (experiment.settings.method,)


def solves(experiment: Experiment) -> bool:
    """Whether the run is one for solvers, so that it has a flow."""
    return any(method not in samplers.MAPS for method in _own(experiment))


def jumps(experiment: Experiment) -> bool:
    """Whether the run is a map."""
    return any(method in samplers.MAPS for method in _own(experiment))


def deterministic(settings: Settings) -> bool:
    """Whether the method follows the probability flow, so that each sample has one true value."""
    if settings.options.get("s_churn") or settings.options.get("eta"):
        return False
    drawing = (*STOCHASTIC, *STOCHASTIC_MAPS)
    return settings.method.startswith("flow") or (settings.few_step and settings.method not in drawing)


def flow_settings(experiment: Experiment) -> Settings:
    """The settings of the probability flow, solved adaptively; every entry ends where it does."""
    settings = dataclasses.replace(experiment.settings, method="ode", rtol=FLOW_TOLERANCE, atol=FLOW_TOLERANCE)
    return samplers.settled(experiment.sde, settings)


def of_run(experiment: Experiment, asked: ConfigDict) -> list[Entry]:
    """The entries of one run, for a comparison that is `asked` for by the section eval of a config.

    A budget too small for a step of its method is left out.

    Raises:
      ValueError: a method or grid is unknown, no budget pays for a method, or the network cannot do what one asks for.
    """
    found = {(entry.name, entry.budget): entry for entry in _listed(experiment, asked)}
    rules.check(rules.of_samplers(experiment, {entry.settings.method for entry in found.values()}))
    return list(found.values())


def _listed(experiment: Experiment, asked: ConfigDict) -> Iterator[Entry]:
    for field, wanted in (("compare", solves(experiment)), ("compare_maps", jumps(experiment))):
        if wanted:
            for needed in (field, f"{field}_evaluations"):
                if not asked[needed]:
                    raise ValueError(f"eval.{needed} is (); it needs at least one entry")
            for name in asked[field]:
                yield from _at_each(experiment, field, name, asked[f"{field}_evaluations"])


def yardstick(experiment: Experiment, asked: ConfigDict) -> Entry:
    """The slow sampler that all are held to, ``eval.compare_reference``; raises what `of_run` raises."""
    budget = (asked.compare_reference_evaluations,)
    (entry,) = _at_each(experiment, "compare_reference", asked.compare_reference, budget)
    rules.check(rules.of_samplers(experiment, {entry.settings.method}))
    return entry


def _at_each(experiment: Experiment, field: str, name: str, budgets: Sequence[int]) -> list[Entry]:
    """The entry at each budget that pays for a step of its method; a ValueError says by its name what is wrong."""
    method, _, grid = name.partition("/")
    sde, settings = experiment.sde, experiment.settings
    try:
        t_min = flow_settings(experiment).t_min
        settings = dataclasses.replace(settings, method=method, grid=grid or settings.grid, t_min=t_min)
        cheapest = least(sde, settings)
        paid = [budget for budget in sorted(budgets) if budget >= cheapest]
        if not paid:
            raise ValueError(
                f"eval.{field}_evaluations is {tuple(budgets)}, and {max(budgets)} evaluations are too few; it needs "
                f"at least {cheapest}"
            )
        return [Entry(name, budget, _spent(sde, settings, budget, own_grid=not grid)) for budget in paid]
    except ValueError as error:
        raise ValueError(f"eval.{field} has {name!r} (method or method/grid): {error}") from None


def _spent(sde: AffineSDE, settings: Settings, budget: int, *, own_grid: bool) -> Settings:
    """The settings that spend the budget; a run's own grid that has another number of steps gives way to 'auto'."""
    try:
        spent = spending(sde, settings, budget)
    except ValueError:
        if not own_grid or settings.grid not in ONE_LENGTH:
            raise
        spent = spending(sde, dataclasses.replace(settings, grid=Settings.grid), budget)
    return samplers.settled(sde, spent)
