"""What is measured of samples besides their Frechet distance, as suits their modality: spectra, sets of points.

A new measure is a function of drawn and real examples, and a line in FURTHER.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from data import Source
from data.alphabet import Alphabet
from data.chunks import Chunks
from data.source import Records, take
from evaluation import ingredients
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import is_leader
from metrics import ngram
from metrics.chamfer import set_quality
from metrics.spectrum import band_distance, log_spectral_distance, power_spectrum
from metrics.words import share_of_real_words, words_of

ORDER = 5
"""Symbols of the longest n-grams that texts are measured by."""
QUOTED = 3
"""Drawn texts of each sampler that a report quotes."""


def _spectra(drawn: np.ndarray, real: np.ndarray, source: Source) -> dict[str, float]:
    of_drawn, of_real = power_spectrum(drawn), power_spectrum(real)
    return {
        "log_spectral_distance": log_spectral_distance(of_drawn, of_real),
        "band_distance": band_distance(of_drawn, of_real),
    }


def _point_sets(drawn: np.ndarray, real: np.ndarray, source: Source) -> dict[str, float]:
    return set_quality(drawn, real)._asdict()


def _texts(drawn: np.ndarray, real: np.ndarray, source: Source) -> dict[str, float]:
    training, alphabet = cast(Chunks, source.train), cast(Alphabet, source.alphabet)
    words, model = _learned(training)
    texts = [alphabet.decode(symbols) for symbols in drawn]
    return {"real_words": share_of_real_words(texts, words), "bits_by_n_grams": ngram.bits(model, drawn)}


@functools.cache
def _learned(training: Chunks) -> tuple[set[str], ngram.NGram]:
    """The words of a training text, and the model of its n-grams."""
    alphabet, symbols = training.alphabet, training.symbols
    return set(words_of(alphabet.decode(symbols))), ngram.fit(symbols, order=ORDER, size=len(alphabet))


def _share_of_strange_words(found: dict[str, Any]) -> float:
    """The share of the words that are no real ones; 1 of texts without words."""
    share = found["real_words"]
    return 1.0 if math.isnan(share) else 1.0 - share


class Distance(NamedTuple):
    """What a comparison judges samplers by, the less the better: its name, and its value in what a measure has found.

    `beside` names other findings that stand beside it.
    """

    name: str
    of: Callable[[dict[str, Any]], float]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A measure of one modality: what it says in a report, its function, and how many examples it takes at most.

    The real examples are of the `split`, "train" or "test". `quote`, where there is one, says drawn examples in words,
    which stand in the report too. `distance` takes the place of the Frechet distance in a comparison of samplers, where
    examples have no mean.
    """

    title: str
    about: str
    function: Callable[[np.ndarray, np.ndarray, Source], dict[str, float]]
    most: int
    split: str = "train"
    quote: Callable[[np.ndarray, Source], list[str]] | None = None
    distance: Distance | None = None


FURTHER: dict[str, Kind] = {
    "signal": Kind(
        "Spectrum",
        "Mean power spectra: the log-spectral distance in dB, and the share of power that lies at other frequencies",
        _spectra,
        10_000,
    ),
    "point_set": Kind(
        "Sets of points",
        "By the Chamfer distance: the share of real sets that are covered, the mean distance of a real set from the "
        "nearest drawn one, and how often the nearest set is of its own kind (0.5: drawn and real ones look alike)",
        _point_sets,
        200,  # every two of which are compared
        distance=Distance(
            "Mean Chamfer distance of real sets from the nearest drawn one", lambda found: found["matching_distance"]
        ),
    ),
    "text": Kind(
        "Texts",
        f"The share of words that are words of the training text, and bits a symbol by its {ORDER}-grams with back-off",
        _texts,
        10_000,
        "test",  # of the training text all words are known
        lambda drawn, source: [cast(Alphabet, source.alphabet).decode(symbols) for symbols in drawn],
        Distance(
            "Share of the words that are none of the training text's", _share_of_strange_words, ("bits_by_n_grams",)
        ),
    ),
}


class Further:
    """The measure of an experiment's modality: samples against two halves of real examples, as many of each."""

    def __init__(self, experiment: Experiment, kind: Kind):
        self.experiment, self.kind = experiment, kind
        self.real: Records = getattr(experiment.source, kind.split)
        self.count = min(experiment.config.eval.num_samples, len(self.real) // 2, kind.most)

    @functools.cached_property
    def halves(self) -> list[np.ndarray]:
        """Real examples, two disjoint sets of them."""
        field = self.experiment.codec.pictures.field
        order = np.random.default_rng(0).permutation(len(self.real))[: 2 * self.count]
        return [take(self.real, np.sort(half))[field] for half in np.split(order, 2)]

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of the measure, once for all samplers: what it is of the two halves."""
        drawn, real = self.halves
        return {"count": self.count, "halves": self.kind.function(drawn, real, self.experiment.source)}

    def fingerprint(self) -> str:
        """The fingerprint of the data that are compared with."""
        splits = dict.fromkeys(("train", self.kind.split))
        return " ".join(ingredients.of_examples(self.experiment, split)["fingerprint"] for split in splits)

    def row(self, sets: Sequence[Rounds]) -> dict[str, Any]:
        """What a report says of sets of samples of one sampler: the means over sets and halves, and "quoted" samples.

        Those are the first of the first set, of a kind that can be quoted.
        """
        if not is_leader():
            return {}
        source, quote = self.experiment.source, self.kind.quote
        drawn = (of_set.column("samples", self.count) for of_set in sets)
        found = [self.kind.function(samples, half, source) for samples in drawn for half in self.halves]
        means = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
        return means | ({"quoted": quote(sets[0].column("samples", QUOTED), source)} if quote else {})


class FurtherDistance:
    """How far samples are from real examples, for a comparison of samplers, by the measure of their modality."""

    def __init__(self, further: Further, distance: Distance):
        self.further, self.distance, self.name = further, distance, distance.name

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What is `judged` of real examples."""
        return self.judged(self.further.facts["halves"])

    @property
    def floor(self) -> float:
        """The distance of real examples from real ones."""
        return self.facts["quality"]

    def row(self, sets: Sequence[Rounds]) -> dict[str, Any]:
        """What a report says of sets of samples of one sampler, see `Further.row`."""
        return self.further.row(sets)

    def judged(self, found: dict[str, Any]) -> dict[str, float]:
        """What a comparison says of what `row` has found: the "quality", the less the better, and what stands by it."""
        return {"quality": self.distance.of(found)} | {name: found[name] for name in self.distance.beside}


def of_experiment(experiment: Experiment) -> Further | None:
    """The measure of the samples of an experiment; None where its modality has none."""
    kind = FURTHER.get(experiment.source.modality)
    return Further(experiment, kind) if kind else None


def distance(experiment: Experiment) -> FurtherDistance | None:
    """The distance by which a comparison judges samplers; None of a modality whose examples have a mean."""
    further = of_experiment(experiment)
    return FurtherDistance(further, further.kind.distance) if further and further.kind.distance else None


def rows(report: dict[str, Any]) -> list[str]:
    """The section of report.md, of a report whose "modality" has a measure; else nothing."""
    kind, facts = FURTHER.get(report.get("modality", "")), report.get("further")
    if not (kind and facts):
        return []
    names = list(facts["halves"])
    lines = [f"### {kind.title}", "", f"{kind.about}; of {facts['count']} samples, and of two halves of real ones.", ""]
    lines += [f"| sampler | {' | '.join(name.replace('_', ' ') for name in names)} |", f"|---|{'---|' * len(names)}"]
    measured = {"real": facts["halves"]} | {name: row["further"] for name, row in report["samplers"].items()}
    lines += [f"| {name} | {' | '.join(f'{of[each]:.4f}' for each in names)} |" for name, of in measured.items()]
    for name, of in measured.items():
        if quoted := of.get("quoted"):
            lines += ["", f"The first samples of {name}:", ""]
            lines += [f"    {line}" for i, text in enumerate(quoted) for line in (f"[{i}]", *text.split("\n"))]
    return [*lines, ""]
