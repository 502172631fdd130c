"""Samples in stages: one run draws small pictures, and others enlarge them (Ho et al. 2022, arXiv:2106.15282).

Each stage samples as its own run's config says. It is told the pictures of the stage before as they would be stored, in
whole levels, of which each stands for the middle of its bin; and the same texts and classes, the texts by its own
tokenizer.
"""

import itertools
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from experiment import made
from experiment.experiment import Experiment
from experiment.sampling import UPSAMPLER, Begun, Drawer, Drawn, Told


class Stages(NamedTuple):
    """A batch whose last stage the devices are at work on.

    Attributes:
      small: the samples of the stage before the last.
      large: what the last stage has begun.
    """

    small: Drawn
    large: Begun


class Cascade:
    """A run whose samples another enlarges (`Experiment.upsampler`); it draws as a `Drawer` does.

    Batch i of a key is the same whoever draws it. Its first stage is what a `Drawer` draws of the run alone, and each
    further one has a key of its own (`key_of_next`). A sample has the evaluations of all stages together, and what it
    was enlarged of lies beside it, as `Drawn.small`.
    """

    def __init__(self, experiment: Experiment, variables: dict[str, Any], method: str, batch_size: int):
        self.size = batch_size
        own = {name: values for name, values in variables.items() if not name.startswith(UPSAMPLER)}
        self.stages = [Drawer(experiment, own, method, batch_size)]
        while upsampler := experiment.upsampler:
            method, (height, width) = upsampler.settings.method, upsampler.source.shape[:2]
            variables = {n.removeprefix(UPSAMPLER): v for n, v in variables.items() if n.startswith(UPSAMPLER)}
            own = {name: values for name, values in variables.items() if not name.startswith(UPSAMPLER)}
            self.stages.append(Drawer(upsampler, own, method, batch_size, what=f"{method} to {height}x{width}"))
            experiment = upsampler

    def all_of(self, key: Key[Array, ""], n: int, told: Told | None = None) -> Drawn:
        """The n samples of a key, as `Drawer.all_of` has them, one stage after the other."""
        whole = -(-n // self.size) * self.size
        return self._enlarged(key, self.stages[0].all_of(key, whole, told), told).first(n)

    def all_from(self, key: Key[Array, ""], z: Float[Array, "n *d"], told: Told | None = None) -> Drawn:
        """The samples of these points of the first stage's prior, as `Drawer.all_from` has them."""
        return self._enlarged(key, self.stages[0].all_from(key, z, told), told)

    def start(self, key: Key[Array, ""], i: int, told: Told | None = None) -> Stages:
        """Begin batch i for `fetch`; the host sees the samples of every stage before the next one begins."""
        small, begun = None, self.stages[0].start(key, i, told)
        for before, stage in itertools.pairwise(self.stages):
            small, key = self._fetched(before, begun).of(small), key_of_next(key)
            begun = stage.start(key, i, self._told(stage.experiment, i * self.size, small.x, told))
        assert small is not None  # a cascade has two stages or more
        return Stages(small, begun)

    def fetch(self, begun: Stages) -> Drawn:
        """The batch that was begun, as `Drawer.fetch` has it."""
        return self._fetched(self.stages[-1], begun.large).of(begun.small)

    def _fetched(self, stage: Drawer, begun: Begun) -> Drawn:
        """What a stage has begun; its seconds run from the end of whatever was fetched before, of any stage."""
        stage.free = max(each.free for each in self.stages)
        return stage.fetch(begun)

    def _enlarged(self, key: Key[Array, ""], drawn: Drawn, told: Told | None) -> Drawn:
        """The samples of all further stages of these samples of the first."""
        n, whole = len(drawn.x), -(-len(drawn.x) // self.size) * self.size
        for stage in self.stages[1:]:
            key, small = key_of_next(key), np.resize(drawn.x, (whole, *drawn.x.shape[1:]))
            drawn = stage.all_of(key, n, self._told(stage.experiment, 0, small, told)).of(drawn)
        return drawn

    def _told(self, stage: Experiment, first: int, small: UInt8[np.ndarray, "n h w c"], told: Told | None) -> Told:
        """What a stage is told of the samples from number `first` on, of which it enlarges these.

        What the first stage is told of classes is told to it too, and what is read of texts, where both read alike.
        """
        base, n = self.stages[0].experiment, len(small)
        given: dict[str, Any] = {"low_res": np.asarray(made.of_levels(stage.codec, small))}
        labels = base.labels(first, n) if told is None else told
        given |= {"label": labels["label"]} if stage.num_classes and "label" in labels else {}
        if told is not None and stage.reader and base.reads_as(stage):
            given |= {name: told[name] for name in stage.reader.fields if name in told}
        return stage.told(first, n, given=tuple(given), said=base.texts(first, n)) | given


def key_of_next(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key with which the samples of a key are enlarged; none of its batches has it."""
    return jax.random.fold_in(key, zlib.crc32(b"upsampler"))


def drawer_of(experiment: Experiment, variables: dict[str, Any], method: str, batch_size: int) -> Drawer | Cascade:
    """What draws samples of that method with these weights, in stages where the experiment has an upsampler.

    The weights are those of the run and of all that serves its samples (`experiment.weights.load_others`).
    """
    kind = Cascade if experiment.upsampler else Drawer
    return kind(experiment, variables, method, batch_size)


def about(experiment: Experiment) -> dict[str, Any]:
    """What enlarges the samples, and as "upsampler_..." the settings that its own sampler uses, as JSON values.

    There is nothing where no run does.
    """
    upsampler, chosen = experiment.upsampler, experiment.config.sampling
    if upsampler is None:
        return {}
    method = upsampler.settings.method
    theirs = {"method": method, **upsampler.settings_of(method).used(), **about(upsampler)}
    folder = {"upsampler": chosen.upsampler, "upsampler_checkpoint": chosen.upsampler_checkpoint}
    return folder | {f"{UPSAMPLER}{name}": value for name, value in theirs.items()}
