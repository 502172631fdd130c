"""What every measure of the test set is: numbers of each example, kept in rounds, and what a report says of them."""

import csv
import functools
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Key

from autoencoders import Codec
from data.source import take
from evaluation import ingredients
from evaluation.rounds import Rounds
from experiment import Experiment, Failure
from experiment.placing import on_devices, on_each
from experiment.processes import is_leader
from experiment.progress import waiting
from experiment.workdir import write_text
from models.materialize import network_jit
from sde_lib.bound import Bound

Columns = dict[str, np.ndarray]
"""Arrays [b, ...] of a batch of examples, or [repeats, n, ...] of all of them, by the names that `compute` gives."""


class Measure(ABC):
    """One measure of the test set; a subclass has `compute` and `numbers`, and the rest is here.

    An example gets its own random key, whatever batch it is in, so the numbers depend neither on the batches nor on the
    devices nor on the processes. A batch holds "image", and "label" where the network is told of classes: what is
    measured is then conditional.

    Attributes:
      name: the key of its part in report.json.
      folder: where its rounds lie; its random key is derived from this name as well.
      what: what the progress bar and the messages call it.
      kinds: the kinds of networks that it is of (`kind_of`).
      experiment: the run that is measured; its network's weights are given to each call.
      count: how many test examples are measured, from the first.
      settings: everything besides the weights, the data and the key that its numbers depend on, as JSON.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    what: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = ("continuous", "chain")

    def __init__(self, experiment: Experiment, most: int = 0, **settings: Any):
        self.experiment, self.settings = experiment, settings
        examples = len(experiment.encoded.test)
        self.count = min(examples, most or examples)

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse, with a ValueError, an experiment of which this cannot be measured."""
        fields, kind = "eval.enable_bpd, eval.enable_vlb or eval.measures", kind_of(experiment)
        if not len(experiment.encoded.test):
            raise ValueError(f"there are no test images for {cls.what}; give the data set some, or change {fields}")
        if kind not in cls.kinds:
            raise ValueError(
                f"{cls.what} ({cls.__name__}) is of a network of kind {' or '.join(cls.kinds)}, and "
                f"model.name {experiment.config.model.name!r} is of kind {kind}; change {fields}"
            )

    @abstractmethod
    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns of a batch, each [b, ...], from a random key for each example; it is compiled once."""

    def prepared(self, variables: dict) -> dict:
        """The variables that `compute` is given, with what is made of them once for all examples, where there is any.

        That is a collection of arrays by a name of its own.
        """
        return variables

    def wrong(self, columns: Columns, examples: str) -> str | None:
        """What is amiss with a round, whose examples are given in words; None says that nothing is."""
        broken = [name for name, array in columns.items() if not np.isfinite(array).all()]
        if not broken:
            return None
        return f"{self.what}: {', '.join(broken)} not finite among {examples}; take another checkpoint"

    def keys(self, key: jax.Array) -> dict[str, jax.Array]:
        """The folders of its rounds with the random key of each; every repeat of a measure has a folder of its own."""
        return {self.folder: key}

    @abstractmethod
    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """Its part of report.json, from the columns [repeats, n, ...] of all examples."""

    def illustrate(self, columns: Columns, part: dict[str, Any], folder: Path) -> None:  # noqa: B027  # most have none
        """Write further tables and pictures into the folder, where the measure has any."""

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The lines of report.md of a part that `numbers` has returned; by default they list it."""
        return [
            f"## {cls.what[:1].upper()}{cls.what[1:]}",
            "",
            *(f"- {name}: {value}" for name, value in part.items()),
            "",
        ]

    def about(self, weights: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        """Everything that the columns depend on: weights (`ingredients.of_weights`), settings, data and random key."""
        examples = ingredients.of_examples(self.experiment, "test")
        return {**weights, **self.settings, "data": examples, **ingredients.of_key(key)}

    def report(self, variables: dict, key: jax.Array, folder: Path, weights: dict[str, Any]) -> dict[str, Any] | None:
        """Measure, in rounds in the folder, and return the part of the report on process 0, None on the others.

        Raises:
          Failure: `wrong` finds something amiss.
        """
        kept = self.filled(variables, key, folder, weights)
        if not is_leader():
            return None
        columns = {name: np.stack([rounds.column(name) for rounds in kept]) for name in kept[0].read(0)}
        part = self.numbers(columns, variables)
        self.illustrate(columns, part, folder)
        return part

    def filled(self, variables: dict, key: jax.Array, folder: Path, weights: dict[str, Any]) -> list[Rounds]:
        """Return the rounds of every repeat, filled by all processes; the arguments are those of `report`.

        Raises:
          Failure: `wrong` finds something amiss.
        """
        compute = network_jit(self.compute, self.experiment.network.dtype)
        spread = functools.cache(lambda size: on_each(self.prepared(variables), size))
        kept = []
        for place, key_of in self.keys(key).items():
            size = min(self.experiment.config.eval.batch_size, self.count)
            rounds = Rounds(folder / place, self.about(weights, key_of), self.count, size)
            kept.append(rounds.fill(self.what, partial(self._begin, compute, spread, key_of, size), self._finish))
        return kept

    def _begin(self, compute: Callable, spread: Callable, key: jax.Array, size: int, i: int) -> dict[str, jax.Array]:
        """Dispatch round i; copies of the last example fill up the last round."""
        index = np.minimum(np.arange(i * size, (i + 1) * size), self.count - 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        examples = take(self.experiment.encoded.test, index)
        batch = {name: on_devices(examples[name]) for name in self.experiment.batch_fields}
        with waiting(f"compiling {self.what}"):  # later calls return at once
            return compute(spread(size), batch, keys)

    def _finish(self, begun: dict[str, jax.Array], examples: range) -> Columns:
        columns = {name: np.asarray(values)[: len(examples)] for name, values in begun.items()}
        if message := self.wrong(columns, f"examples {examples[0]} to {examples[-1]}"):
            raise Failure(message)
        return columns


def kind_of(experiment: Experiment) -> str:
    """The kind of a network: "classifier", "autoencoder", "matcher" of images and texts; or of what draws samples.

    That is "vae" of an autoencoder whose latents have a prior, and "generator" of another one; of what denoises "chain"
    where it knows noise levels, "categorical" of categories, else "continuous".
    """
    if experiment.generates:
        return "vae" if experiment.compresses else "generator"
    if experiment.of_categories:
        return "categorical"
    if experiment.compresses or experiment.matches:
        return "autoencoder" if experiment.compresses else "matcher"
    return "classifier" if experiment.classifies else "chain" if experiment.num_scales else "continuous"


def bits_mean(bits: np.ndarray, codec: Codec) -> dict[str, Any]:
    """The mean over examples [n] of bits/dim, in the codec's unit, and its standard error, as all reports have them."""
    unit, of_a_bit = codec.information
    each, n = bits * of_a_bit, len(bits)
    return {
        "mean": float(each.mean()),
        "standard_error": float(each.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
        "unit": unit,
    }


def bits_of_terms(columns: Columns, codec: Codec) -> dict[str, Any]:
    """The mean of a bound, as `bits_mean`, and those of the terms of `sde_lib.bound.Bound`, its columns."""
    terms = {name: columns[name][0].astype(np.float64) for name in Bound._fields}
    return bits_mean(np.sum(list(terms.values()), axis=0), codec) | {
        name: bits_mean(values, codec)["mean"] for name, values in terms.items()
    }


def bits_rows(title: str, part: dict[str, Any], *terms: str) -> list[str]:
    """The heading of a section on bits/dim, and the line of its mean with the terms of which it is the sum."""
    sum_of = f": {', '.join(f'{term} {part[term]:.4f}' for term in terms)}" if terms else ""
    return [
        f"## {title}",
        "",
        f"**{part['mean']:.4f} +- {part['standard_error']:.4f} {part['unit']}** (mean and standard error over "
        f"{part['examples']} test examples){sum_of}.",
        "",
    ]


def encoded(codec: Codec, data: jax.Array, keys: Key[Array, " b"]) -> Any:
    """The x of continuous data and of latents, each drawn by a key of its own: none that `normal_noise` uses."""
    return codec.encode(data, jax.vmap(jax.random.fold_in, (0, None))(keys, 2**31 - 1))


def write_csv(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as CSV, numbers with eight digits."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    writer.writerows([each if isinstance(each, str) else f"{each:.8g}" for each in row] for row in rows)
    write_text(path, file.getvalue())
