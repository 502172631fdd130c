"""Solvers are compared on one checkpoint: quality against evaluations and wall time, all from the same noise.

Every choice of solver, grid and evaluations has rounds of its own under WORKDIR/comparison/step_N: a killed
comparison continues where it stopped, and a longer list uses what is there.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

import samplers
from evaluation import comparison, ingredients, quality
from evaluation.report import environment
from evaluation.rounds import Rounds
from experiment import Experiment, Failure
from experiment.placing import on_devices, on_each
from experiment.processes import barrier, is_leader
from experiment.progress import waiting
from experiment.sampling import guided, keys_of_batch
from experiment.weights import load_guided
from experiment.workdir import Workdir
from models.materialize import network_jit
from samplers import Settings
from samplers.create import stepper_of
from samplers.methods import STOCHASTIC
from samplers.shared import Table, least, loop, spending, table

FLOW_TOLERANCE = 1e-5
"""The tolerance of the flow against which deterministic solvers are measured."""

COUNTS = ("steps", "flow_steps", "evaluations")
IN_ROWS: dict[str, Any] = {
    "grid": "auto",
    "karras_power": 7.0,
    "grid_shift": 3.0,
    "t_min": 1e-3,
    **dict.fromkeys(COUNTS, 1),
}
"""Settings that change the rows of a table alone, not the program that takes them."""


class Entry(NamedTuple):
    """One solver on one grid: its name, its budget of evaluations, and the settings that spend it."""

    name: str
    budget: int
    settings: Settings


class Plan(NamedTuple):
    """Everything that a comparison begins with."""

    entries: list[Entry]
    reference: Entry
    distance: quality.Distance
    step: int
    variables: dict[str, Any]


def deterministic(settings: Settings) -> bool:
    """Whether the method follows the probability flow, so that each sample has one true value."""
    if settings.options.get("s_churn") or settings.options.get("eta"):
        return False
    return settings.method.startswith("flow") or (settings.few_step and settings.method not in STOCHASTIC)


def flow_settings(experiment: Experiment) -> Settings:
    """The settings of the probability flow, solved adaptively; every entry ends where it does."""
    settings = dataclasses.replace(experiment.settings, method="ode", rtol=FLOW_TOLERANCE, atol=FLOW_TOLERANCE)
    return samplers.settled(experiment.sde, settings)


def check(experiment: Experiment) -> tuple[list[Entry], Entry]:
    """The entries of ``eval.compare`` at each of ``eval.compare_evaluations``, and the yardstick.

    An entry is 'method' or 'method/grid'; a budget too small for a step of its method is left out.

    Raises:
      ValueError: a method or grid is unknown, a name or number is given twice, or no budget pays for a method.
    """
    config = experiment.config.eval
    if not config.enable_sampling:
        raise ValueError("eval.enable_sampling is False, and a comparison draws samples; set it to True")
    for field in ("compare", "compare_evaluations"):
        if not config[field] or len(set(config[field])) < len(config[field]):
            raise ValueError(f"eval.{field} is {tuple(config[field])}; it needs at least one entry, each once")
    budgets, reference = config.compare_evaluations, config.compare_reference
    entries = [entry for name in config.compare for entry in _entries(experiment, "compare", name, budgets)]
    (slow,) = _entries(experiment, "compare_reference", reference, (config.compare_reference_evaluations,))
    return entries, slow


def _entries(experiment: Experiment, field: str, name: str, budgets: Sequence[int]) -> list[Entry]:
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
        return [Entry(name, budget, samplers.settled(sde, spending(sde, settings, budget))) for budget in paid]
    except ValueError as error:
        raise ValueError(f"eval.{field} has {name!r} (method or method/grid): {error}") from None


def prepare(experiment: Experiment, workdir: Workdir) -> Plan:
    """Read what the comparison needs; this compiles and writes nothing.

    Raises:
      ValueError: `check` refuses an entry, the data have no distance, or a file is not the Inception network.
      OSError: a file or a checkpoint is not there.
    """
    entries, reference = check(experiment)
    distance = quality.distance(experiment, workdir)
    if distance is None:
        raise ValueError(
            f"the images of {experiment.source.name!r} are {experiment.source.shape}, too large for a distance over "
            "pixels; give eval.inception the Inception weights"
        )
    return Plan(entries, reference, distance, *load_guided(workdir, experiment))


def compare(experiment: Experiment, workdir: Workdir, plan: Plan) -> dict[str, Any] | None:
    """Draw and measure what is missing; write comparison.md, .csv, .json and .png; the result (process 0).

    The files are written anew after every entry, the picture at the end.

    Raises:
      Failure: a sample that is not finite.
    """
    config, distance = experiment.config, plan.distance
    draws = _Draws(experiment, workdir, plan)
    flow = draws.flow()
    result: dict[str, Any] = {
        "dataset": config.data.dataset,
        "sde": config.sde.to_dict(),
        "checkpoint": {"step": plan.step, "ema": config.eval.ema},
        "num_samples": config.eval.num_samples,
        "batch_size": flow.size,
        "seed": config.eval.seed,
        "measure": distance.name,
        "floor": distance.facts.get("frechet_floor") if is_leader() else None,
        "flow": {"tolerance": FLOW_TOLERANCE, "evaluations": float(flow.column("evaluations").mean())},
        "environment": environment(),
        "rows": [],
    }
    entries = (plan.reference, *plan.entries)
    for entry in tqdm(entries, desc="compare", unit="entry", dynamic_ncols=True, disable=not is_leader()):
        rounds = draws.of(entry, flow)
        found = distance.row([rounds])
        if not is_leader():
            continue
        row = _row(entry, rounds, found)
        reference = result.setdefault("reference", row)
        row["ratio"] = row["quality"] / reference["quality"]
        if entry is not plan.reference:
            result["rows"].append(row)
            comparison.write(workdir.path, result)
    if is_leader():
        comparison.picture(workdir.path / comparison.PICTURE, result)
    barrier("compared")
    return result if is_leader() else None


def _row(entry: Entry, rounds: Rounds, found: dict[str, Any]) -> dict[str, Any]:
    """The row of the files of one entry, of which the distance says what was `found`."""
    row: dict[str, Any] = {
        "solver": entry.name,
        "budget": entry.budget,
        "evaluations": int(rounds.column("evaluations").max()),
        "seconds": float(np.median(rounds.column("seconds")[:: rounds.size])),
        "settings": entry.settings.used(),
        "flow_error": None,
    }
    if deterministic(entry.settings):
        # The median: where the flow parts, one sample that goes the other way would outweigh all others in a mean.
        row["flow_error"] = float(np.median(np.sqrt(rounds.column("squared_error"))))
    if inception := found.get("inception"):
        return row | {"inception": inception, "quality": inception["fid"]}
    return row | {"quality": found["frechet_distance"]}


class _Draws:
    """Samples of every entry from the same noise, in rounds; each method is compiled once, or once for each program."""

    def __init__(self, experiment: Experiment, workdir: Workdir, plan: Plan):
        config = experiment.config.eval
        self.experiment, self.size = experiment, min(config.batch_size, config.num_samples)
        self.variables = on_each(plan.variables, self.size)
        self.sde = experiment.process(plan.variables)
        self.folder = workdir.path / "comparison" / f"step_{plan.step:08d}{'' if config.ema else '_raw'}"
        self.flow_settings = flow_settings(experiment)
        self.about = ingredients.of_weights(experiment, plan.step, plan.variables) | {
            "seed": config.seed,
            "flow": ingredients.of_sampler(self.flow_settings),
        }
        self.longest: dict[str, int] = {}  # rows of each method's longest table
        for entry in (*plan.entries, plan.reference):
            self.longest[entry.settings.method] = max(self.longest.get(entry.settings.method, 0), entry.budget)
        self._compiled: dict[tuple, Callable] = {}

    def flow(self) -> Rounds:
        """Rounds of x and evaluations of the probability flow, which is solved adaptively."""
        settings = self.flow_settings

        def draw(variables: dict, key: jax.Array, z: jax.Array, told: Any) -> samplers.Samples:
            model = guided(self.experiment, variables, settings, self.sde, told)
            return samplers.create(self.sde, model, settings)(key, z)

        def begin(i: int) -> samplers.Samples:
            return self._run("ode", draw, *self._given(i), settings=settings)[0]

        def finish(solved: samplers.Samples, examples: range) -> dict[str, np.ndarray]:
            x, evaluations = (np.asarray(values)[: len(examples)] for values in solved[:2])
            return {"x": _finite(x, "the flow"), "evaluations": evaluations}

        return self._rounds("flow", settings).fill("the flow", begin, finish)

    def of(self, entry: Entry, flow: Rounds) -> Rounds:
        """Rounds of samples as stored levels, their evaluations and the seconds of the whole round.

        For a deterministic solver they also hold the mean square distance of each sample from the flow's.
        """
        settings, method = entry.settings, entry.settings.method
        rows = table(self.sde, stepper_of(self.sde, lambda x, t: x, settings), settings, self.longest[method])

        def draw(variables: dict, key: jax.Array, z: jax.Array, told: Any, rows: Table) -> jax.Array:
            model = guided(self.experiment, variables, settings, self.sde, told)
            return loop(self.sde, model, settings)(key, z, rows)

        def begin(i: int) -> tuple[jax.Array, float]:
            return self._run(method, draw, *self._given(i), rows, settings=settings)

        def finish(drawn: tuple[jax.Array, float], examples: range) -> dict[str, np.ndarray]:
            n, seconds = len(examples), drawn[1]
            x = _finite(np.asarray(drawn[0])[:n], entry.name)
            arrays = {"evaluations": np.full(n, rows.evaluations), "seconds": np.full(n, seconds)}
            if deterministic(settings):
                difference = (x - flow.read(examples.start // flow.size)["x"]).reshape(n, -1).astype(np.float64)
                arrays["squared_error"] = np.mean(difference**2, axis=1)
            return {"samples": np.asarray(self.experiment.codec.decode(x)), **arrays}

        # The seconds are of this machine: another one takes its own, and draws anew.
        folder, device = f"{entry.name.replace('/', '_')}_{entry.budget}", environment()["device"]
        return self._rounds(folder, settings, device=device).fill(f"{entry.name}, {entry.budget}", begin, finish)

    def _rounds(self, name: str, settings: Settings, **known: str) -> Rounds:
        about = {**self.about, **ingredients.of_sampler(settings), **known}
        return Rounds(self.folder / name, about, self.experiment.config.eval.num_samples, self.size)

    def _given(self, i: int) -> tuple[jax.Array, jax.Array, Any]:
        """The key, the noise and the fields (`Experiment.told`) of round i, which are the same for all entries."""
        root = jax.random.key(self.experiment.config.eval.seed)
        key_prior, key_path = keys_of_batch(root, i)
        z = self.experiment.sde.prior_sample(key_prior, (self.size, *self.experiment.codec.shape))
        told = jax.tree.map(on_devices, self.experiment.told(i * self.size, self.size))
        return key_path, on_devices(z), told

    def _run(self, name: str, draw: Callable, *arguments: Any, settings: Settings) -> tuple[Any, float]:
        """The result and its seconds; a program is compiled at its first call, which the seconds leave out.

        Entries of one method share a program where its rows are alike and nothing else of the settings differs: a step
        by a chain's own kernel is another one than a step by a kernel in its row, and so is a network asked for levels.
        """
        program = name, dataclasses.replace(settings, **IN_ROWS), jax.tree.structure(arguments)
        if program not in self._compiled:
            with waiting(f"compiling {name}"):
                jitted: Any = network_jit(draw)
                self._compiled[program] = jitted.lower(self.variables, *arguments).compile()
        began = time.perf_counter()
        result = jax.block_until_ready(self._compiled[program](self.variables, *arguments))
        return result, time.perf_counter() - began


def _finite(x: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(x).all():
        raise Failure(f"samples of {name} are not finite; take it out of eval.compare, or raise sampling.t_min")
    return x
