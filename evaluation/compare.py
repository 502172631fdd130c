"""Samplers of one or several runs are compared: quality against evaluations and wall time, all from the same noise.

Every choice of sampler, grid and evaluations has rounds of its own under WORKDIR/comparison/step_N, or, of a further
run, WORKDIR/comparison/NAME/step_N: a killed comparison continues where it stopped, and a longer list uses what is
there.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

import samplers
from conditions import only_present
from evaluation import comparison, contenders, entries, further, ingredients, quality
from evaluation.contenders import Contender
from evaluation.entries import Entry
from evaluation.report import environment
from evaluation.rounds import Rounds
from experiment import Experiment, Failure
from experiment.placing import on_devices, on_each
from experiment.processes import barrier, is_leader
from experiment.progress import waiting
from experiment.sampling import beliefs, decoded, guided, keys_of_batch
from experiment.showing import MODALITIES
from experiment.weights import kind, suffix
from experiment.workdir import Workdir
from models.materialize import network_jit
from samplers import Settings
from samplers.create import stepper_of
from samplers.shared import Table, loop, table

COUNTS = ("steps", "flow_steps", "evaluations")
IN_ROWS: dict[str, Any] = {
    "grid": "auto",
    "karras_power": 7.0,
    "grid_shift": 3.0,
    "t_min": 1e-3,
    **dict.fromkeys(COUNTS, 1),
}
"""Settings that change the rows of a table alone, not the program that takes them."""


class Plan(NamedTuple):
    """Everything that a comparison begins with; the yardstick's run is the first of all, where there is one."""

    contenders: list[Contender]
    yardstick: Entry | None
    distance: quality.Distance | further.FurtherDistance


def prepare(experiment: Experiment, workdir: Workdir) -> Plan:
    """Read what the comparison needs; this compiles and writes nothing.

    The yardstick is drawn of the first run that has a flow; where all are maps there is none.

    Raises:
      ValueError: `contenders.of_config` refuses a run or an entry, the data have no distance, or a file is not the
        Inception network.
      OSError: a file or a checkpoint is not there.
    """
    asked = experiment.config.eval
    if not asked.enable_sampling:
        raise ValueError("eval.enable_sampling is False, and a comparison draws samples; set it to True")
    found = contenders.of_config(experiment, workdir)
    found.sort(key=lambda run: not entries.solves(run.experiment))
    slow = entries.yardstick(found[0].experiment, asked) if entries.solves(found[0].experiment) else None
    distance = further.distance(experiment) or quality.distance(experiment, workdir)
    if distance is None:
        modality = MODALITIES[experiment.source.modality]
        mend = "set eval.frechet_size to 16" if modality.pixels is not None else "compare runs of shorter examples"
        mend += ", or give eval.inception the Inception weights" if modality.is_picture else ""
        raise ValueError(
            f"the {modality.words} of {experiment.source.name!r} are {experiment.source.shape}, too large for a "
            f"distance over their numbers; {mend}"
        )
    return Plan(found, slow, distance)


def compare(experiment: Experiment, workdir: Workdir, plan: Plan) -> dict[str, Any] | None:
    """Draw and measure what is missing; write comparison.md, .csv, .json and .png; the result (process 0).

    The files are written anew after every entry, the picture at the end.

    Raises:
      Failure: a sample that is not finite.
    """
    asked, distance = experiment.config.eval, plan.distance
    result: dict[str, Any] = {
        "dataset": experiment.config.data.dataset,
        "runs": {run.name: _facts(run) for run in plan.contenders},
        "num_samples": asked.num_samples,
        "batch_size": min(asked.batch_size, asked.num_samples),
        "seed": asked.seed,
        "measure": distance.name,
        "floor": distance.floor if is_leader() else None,
        "real_bits_by_n_grams": distance.facts.get("bits_by_n_grams") if is_leader() else None,
        "flow_tolerance": entries.FLOW_TOLERANCE,
        "environment": environment(),
        "reference": None,
        "rows": [],
    }
    ahead = [] if plan.yardstick is None else [plan.yardstick]
    total = len(ahead) + sum(len(run.entries) for run in plan.contenders)
    with tqdm(total=total, desc="compare", unit="entry", dynamic_ncols=True, disable=not is_leader()) as progress:
        for run in plan.contenders:
            listed, ahead = [*ahead, *run.entries], []
            draws = _Draws(run, asked, listed)
            if draws.flow is not None:
                result["runs"][run.name]["flow_evaluations"] = float(draws.flow.column("evaluations").mean())
            for entry in listed:
                rounds = draws.of(entry)
                found = distance.row([rounds])
                if is_leader():
                    row = _row(run, entry, rounds) | distance.judged(found)
                    _add(result, row, is_yardstick=entry is plan.yardstick)
                    if result["rows"]:
                        comparison.write(workdir.path, result)
                progress.update()
    if is_leader():
        comparison.picture(workdir.path / comparison.PICTURE, result)
    barrier("compared")
    return result if is_leader() else None


def _facts(run: Contender) -> dict[str, Any]:
    """What the files say of a run besides its rows."""
    config = run.experiment.config
    checkpoint = {"step": run.step, "ema": config.eval.ema, "weights": kind(config)}
    return {"folder": str(run.path), "sde": config.sde.to_dict(), "checkpoint": checkpoint, "flow_evaluations": None}


def _add(result: dict[str, Any], row: dict[str, Any], *, is_yardstick: bool) -> None:
    """Add a row to the result, with its quality in floors and as a ratio to the yardstick's where these are there."""
    if is_yardstick:
        result["reference"] = row
    else:
        result["rows"].append(row)
    floor, slow = result["floor"], result["reference"]
    row["floors"] = row["quality"] / floor if floor else None
    row["ratio"] = row["quality"] / slow["quality"] if slow and slow["quality"] else None


def _row(run: Contender, entry: Entry, rounds: Rounds) -> dict[str, Any]:
    """The row of the files of one entry, but for what its distance says of it."""
    row: dict[str, Any] = {
        "run": run.name,
        "sampler": entry.name,
        "budget": entry.budget,
        "evaluations": int(rounds.column("evaluations").max()),
        "seconds_per_sample": float(np.median(rounds.column("seconds")[:: rounds.size])) / rounds.size,
        "settings": entry.settings.used(),
        "flow_error": None,
    }
    if _has_error(run, entry):
        # The median: where the flow parts, one sample that goes the other way would outweigh all others in a mean.
        row["flow_error"] = float(np.median(np.sqrt(rounds.column("squared_error"))))
    return row


def _has_error(run: Contender, entry: Entry) -> bool:
    """Whether the samples of an entry are compared with the ends of the run's flow."""
    return entries.flows(run.experiment) and entries.deterministic(entry.settings)


class _Draws:
    """Samples of every entry of a run from the same noise, in rounds.

    Each method is compiled once, or once for each program; over categories each entry is one. The comparison that is
    `asked` for, the section eval of a config, says how many samples are drawn, how many at once, and from which seed.
    """

    def __init__(self, run: Contender, asked: ConfigDict, listed: Sequence[Entry]):
        self.run, self.experiment, self.asked = run, run.experiment, asked
        self.size = min(asked.batch_size, asked.num_samples)
        self.variables = on_each(run.variables, self.size)
        self.sde = self.experiment.process(run.variables)
        self.folder = run.kept / f"step_{run.step:08d}{suffix(self.experiment.config)}"
        self.flow_settings = entries.flow_settings(self.experiment) if entries.flows(self.experiment) else None
        self.about = ingredients.of_weights(self.experiment, run.step, run.variables) | {
            "seed": asked.seed,
            "flow": ingredients.of_sampler(self.flow_settings) if self.flow_settings else None,
            **ingredients.of_drawn(self.experiment, asked.num_samples),
        }
        self.longest: dict[str, int] = {}  # rows of each method's longest table
        for entry in listed:
            self.longest[entry.settings.method] = max(self.longest.get(entry.settings.method, 0), entry.budget)
        self._compiled: dict[tuple, Callable] = {}
        self._reconstructs = False

    @functools.cached_property
    def flow(self) -> Rounds | None:
        """Rounds of x and evaluations of the probability flow, which is solved adaptively; None where there is none."""
        settings = self.flow_settings
        if settings is None:
            return None

        def draw(variables: dict, key: jax.Array, z: jax.Array, told: Any) -> samplers.Samples:
            model = guided(self.experiment, variables, settings, self.sde, told)
            return samplers.create(self.sde, model, settings)(key, z)

        def begin(i: int) -> samplers.Samples:
            return self._run("ode", draw, *self._given(i), settings=settings)[0]

        def finish(solved: samplers.Samples, examples: range) -> dict[str, np.ndarray]:
            x, evaluations = (np.asarray(values)[: len(examples)] for values in solved[:2])
            return {"x": self._finite(x, "the flow"), "evaluations": evaluations}

        return self._rounds("flow", settings).fill("the flow", begin, finish)

    def of(self, entry: Entry) -> Rounds:
        """Rounds of samples as stored levels, their evaluations and the seconds of the whole round.

        For a deterministic sampler they also hold the mean square distance of each sample from the flow's.
        """
        settings, flow = entry.settings, self.flow
        draw, tables, evaluations = self._over_categories(entry) if settings.over_categories else self._solver(entry)

        def begin(i: int) -> tuple[jax.Array, jax.Array, float]:
            x, seconds = self._run(settings.method, draw, *self._given(i), *tables, settings=settings)
            pictures, more = self._reconstruct(x)
            return x, pictures, seconds + more

        def finish(drawn: tuple[jax.Array, jax.Array, float], examples: range) -> dict[str, np.ndarray]:
            n, seconds = len(examples), drawn[2]
            x = self._finite(np.asarray(drawn[0])[:n], entry.name)
            arrays = {"evaluations": np.full(n, evaluations), "seconds": np.full(n, seconds)}
            if flow is not None and _has_error(self.run, entry):
                difference = (x - flow.read(examples.start // flow.size)["x"]).reshape(n, -1).astype(np.float64)
                arrays["squared_error"] = np.mean(difference**2, axis=1)
            told = self.experiment.present(examples.start, n)
            return {"samples": decoded(self.experiment, x, np.asarray(drawn[1])[:n], told), **arrays}

        # The seconds are of this machine: another one takes its own, and draws anew.
        folder, device = f"{entry.name.replace('/', '_')}_{entry.budget}", environment()["device"]
        return self._rounds(folder, settings, device=device).fill(f"{entry.name}, {entry.budget}", begin, finish)

    def _solver(self, entry: Entry) -> tuple[Callable, tuple[Table], int]:
        """The program of a method, the table with which it draws an entry, and the evaluations that these cost."""
        settings = entry.settings
        rows = table(self.sde, stepper_of(self.sde, lambda x, t: x, settings), settings, self.longest[settings.method])

        def draw(variables: dict, key: jax.Array, z: jax.Array, told: Any, rows: Table) -> jax.Array:
            model = guided(self.experiment, variables, settings, self.sde, told)
            return only_present(loop(self.sde, model, settings)(key, z, rows), told)

        return draw, (rows,), rows.evaluations

    def _over_categories(self, entry: Entry) -> tuple[Callable, tuple[()], int]:
        """The program of an entry over categories, whose steps may have tables of their own, and its evaluations."""
        process: Any = self.sde
        settings = entry.settings

        def draw(variables: dict, key: jax.Array, z: jax.Array, told: Any) -> jax.Array:
            model = beliefs(self.experiment, variables, settings, told)
            return samplers.create_categorical(process, model, settings)(key, z).x

        return draw, (), settings.steps

    def _rounds(self, name: str, settings: Settings, **known: str) -> Rounds:
        about = {**self.about, **ingredients.of_sampler(settings), **known}
        return Rounds(self.folder / name, about, self.asked.num_samples, self.size)

    def _given(self, i: int) -> tuple[jax.Array, jax.Array, Any]:
        """The key, the noise and the fields (`Experiment.told`) of round i, which are the same for all entries."""
        root = jax.random.key(self.asked.seed)
        key_prior, key_path = keys_of_batch(root, i)
        z = self.experiment.sde.prior_sample(key_prior, (self.size, *self.experiment.codec.shape))
        told = jax.tree.map(on_devices, self.experiment.told(i * self.size, self.size))
        return key_path, on_devices(only_present(z, told)), told

    def _run(self, name: str, draw: Callable, *arguments: Any, settings: Settings) -> tuple[Any, float]:
        """The result and its seconds; a program is compiled at its first call, which the seconds leave out.

        Entries of one method share a program where its rows are alike and nothing else of the settings differs: a step
        by a chain's own kernel is another one than a step by a kernel in its row, and so is a network asked for levels.
        """
        alike = settings if settings.over_categories else dataclasses.replace(settings, **IN_ROWS)
        program = name, alike, jax.tree.structure(arguments)
        if program not in self._compiled:
            with waiting(f"compiling {name}"):
                jitted: Any = network_jit(draw, self.experiment.network.dtype)
                self._compiled[program] = jitted.lower(self.variables, *arguments).compile()
        began = time.perf_counter()
        result = jax.block_until_ready(self._compiled[program](self.variables, *arguments))
        return result, time.perf_counter() - began

    def _reconstruct(self, x: jax.Array) -> tuple[jax.Array, float]:
        """The floats of the stored data, and their seconds, of which a first call leaves compiling out."""
        if not self._reconstructs:
            self._reconstructs = True
            jax.block_until_ready(self.experiment.codec.reconstruct(x))
        began = time.perf_counter()
        pictures = jax.block_until_ready(self.experiment.codec.reconstruct(x))
        return pictures, time.perf_counter() - began

    def _finite(self, x: np.ndarray, name: str) -> np.ndarray:
        if not np.isfinite(x).all():
            raise Failure(
                f"samples of {name} of {self.run.path} are not finite; take it out of eval.compare and "
                "eval.compare_maps, or raise sampling.t_min of that run"
            )
        return x
