"""What a comparison draws of one run: methods, each on a grid, at so many evaluations.

A run is compared by the kinds of samplers that its own config names, ``eval.samplers`` (or else ``sampling.method``).
One that names a solver has a probability flow, and is drawn from by the entries of ``eval.compare`` at each of
``eval.compare_evaluations``. One that names a map (`samplers.MAPS`) is drawn from by ``eval.compare_maps`` at each of
``eval.compare_maps_evaluations``. One that names both is drawn from by both. A run over categories has no flow; it is
drawn from by the entries of ``eval.compare`` that are samplers over categories, which any other run leaves out.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

import samplers
from experiment import Experiment, rules
from samplers import Settings
from samplers.grids import ONE_LENGTH
from samplers.methods import STOCHASTIC, STOCHASTIC_MAPS
from samplers.settings import GENERATOR, KNOWN
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
    """Whether the run is one for solvers, or for samplers over categories."""
    return any(method not in samplers.MAPS for method in _own(experiment))


def flows(experiment: Experiment) -> bool:
    """Whether the run has a probability flow: it is one for solvers, and not of categories."""
    return solves(experiment) and not experiment.of_categories


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
            for name in _suited(experiment, field, asked[field]):
                yield from _at_each(experiment, field, name, asked[f"{field}_evaluations"])


def _suited(experiment: Experiment, field: str, names: Sequence[str]) -> list[str]:
    """The entries that are not of the other kind of noise, categorical or Gaussian; a ValueError where none is left."""
    others = {*KNOWN} - {*samplers.CATEGORICAL} if experiment.of_categories else {*samplers.CATEGORICAL, GENERATOR}
    found = [name for name in names if name.partition("/")[0] not in others]
    if not found:
        needed = ", ".join(samplers.CATEGORICAL) if experiment.of_categories else "samplers of Gaussian noise"
        raise ValueError(
            f"eval.{field} is {tuple(names)}, none of which draws of model.name {experiment.config.model.name!r}; name "
            f"some of {needed}"
        )
    return found


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
        if experiment.of_categories:
            return [_over_categories(experiment, name, budget) for budget in sorted(budgets)]
        t_min = flow_settings(experiment).t_min
        settings = dataclasses.replace(settings, method=method, grid=grid or settings.grid, t_min=t_min)
        if settings.over_categories:
            raise ValueError("it is a sampler over categories, and the process of this run is one of Gaussian noise")
        if settings.generates:
            raise ValueError("it is the one evaluation of a generator, and this run follows a noise process")
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


def _over_categories(experiment: Experiment, name: str, steps: int) -> Entry:
    """The entry of a sampler over categories, of which a step is one evaluation; as `_at_each`."""
    method, slash, _ = name.partition("/")
    process: Any = experiment.sde
    settings = dataclasses.replace(experiment.settings, method=method, steps=steps)
    samplers.create_categorical(process, lambda x, t: x, settings)
    if slash:
        raise ValueError("the grid of a sampler over categories is that of its process; name the method alone")
    return Entry(name, steps, settings)


def _spent(sde: AffineSDE, settings: Settings, budget: int, *, own_grid: bool) -> Settings:
    """The settings that spend the budget; a run's own grid that has another number of steps gives way to 'auto'."""
    try:
        spent = spending(sde, settings, budget)
    except ValueError:
        if not own_grid or settings.grid not in ONE_LENGTH:
            raise
        spent = spending(sde, dataclasses.replace(settings, grid=Settings.grid), budget)
    return samplers.settled(sde, spent)
