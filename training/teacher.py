"""Other runs that a training begins with: a teacher, whose predictions a loss learns from, and initial weights."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import samplers
from autoencoders import of_one_space
from checkpoints.layout import TRAINING
from conditions import Condition
from experiment import Experiment
from experiment.build import of_folder
from experiment.weights import fingerprint, load
from experiment.workdir import Workdir
from models import MODELS
from models.functional import Variables, frozen
from sde_lib import PredictFn

FREE = {*TRAINING, "label_dim", "told_end", "augment_dim", "image_size", "num_scales", "sigma_min", "sigma_max"}
"""Options of a network that may be others than those of the run that a training begins with."""


class Teacher(NamedTuple):
    """The run in ``training.teacher``: what its config names, and the averaged weights of one checkpoint."""

    experiment: Experiment
    variables: Variables

    def predict_fn(self, variables: Variables, condition: Condition) -> PredictFn:
        """Return its predictions with these variables, told what it takes of what the student is told."""
        model = self.experiment.config.model
        told = {name: entry for name, entry in condition.items() if model.get(f"{name}_dim", 0)}
        return self.experiment.predict_fn(variables, condition=told or None)

    @property
    def digest(self) -> str:
        """The SHA-256 of its weights, with their names."""
        return fingerprint(self.variables)


def of_config(experiment: Experiment) -> Teacher | None:
    """Return the teacher of ``training.teacher``; None where there is none.

    Raises:
      ValueError: the folder holds no run, a classifier, a run of noise levels, of other images or classes, a
        consistency model whose flow is asked for, or a student of other than twice the steps.
      OSError: it has no checkpoint, or none of that step.
    """
    folder, step = experiment.config.training.teacher, experiment.config.training.teacher_checkpoint
    if not folder:
        return None
    teacher, what = of_folder("training.teacher", folder), f"training.teacher is {folder!r}"
    if teacher.generates and not teacher.compresses:
        raise ValueError(f"{what}, a generator (training.loss {teacher.config.training.loss!r}), which says no score")
    if not teacher.denoises:
        kind = "an autoencoder" if teacher.compresses else "a classifier" if teacher.classifies else "a CLIP"
        raise ValueError(f"{what}, {kind} ({teacher.config.model.name}); take a run that draws samples")
    if teacher.num_scales:
        raise ValueError(f"{what}, which was trained on noise levels; take one trained in continuous time")
    if teacher.codec.shape != experiment.codec.shape:
        raise ValueError(f"{what}, whose examples are {teacher.codec.shape}, and here {experiment.codec.shape}")
    if not of_one_space(teacher.codec, experiment.codec):
        raise ValueError(
            f"{what}, with data.codec={teacher.config.data.codec!r}, and here {experiment.config.data.codec!r}; its x "
            "must be ours: the same autoencoder, scale and shift"
        )
    if teacher.codec.centered != experiment.codec.centered:
        raise ValueError(f"{what}, with data.centered={teacher.codec.centered}; set it here to the same")
    config, taught = experiment.config.training, teacher.config.training
    by_map = config.coupling == "reflow" and config.reflow_sampler in samplers.MAPS
    if teacher.is_consistency_model and not by_map:
        raise ValueError(
            f"{what}, a consistency model, which says where a path ends and not its velocity; take the diffusion model "
            "that it was made from"
        )
    halving = config.loss == taught.loss == "progressive_distillation"
    if halving and taught.distilled_steps != 2 * config.distilled_steps:
        raise ValueError(
            f"{what}, a student of {taught.distilled_steps} steps, and training.distilled_steps is "
            f"{config.distilled_steps}; a round halves them: set it to {taught.distilled_steps // 2}"
        )
    if teacher.num_classes not in (0, experiment.num_classes):
        raise ValueError(
            f"{what}, which is told of {teacher.num_classes} classes, and the network here of "
            f"{experiment.num_classes} (model.label_dim); make them equal"
        )
    return Teacher(teacher, _weights(folder, teacher, step))


def initial(experiment: Experiment) -> Variables | None:
    """Return the averaged weights of the run in ``training.begin_with``; None where there is none.

    Raises:
      ValueError: the folder holds no run, a network that is no part of the one to be trained, or one whose weights
        mean something else.
      OSError: it has no checkpoint.
    """
    folder = experiment.config.training.begin_with
    if not folder:
        return None
    other = of_folder("training.begin_with", folder)
    here, there = experiment.network.abstract(), other.network.abstract()
    differ = [
        f"{name} {leaf.shape} there, {here[collection][name].shape if name in here[collection] else 'absent'} here"
        for collection, named in there.items()
        for name, leaf in named.items()
        if name not in here[collection] or here[collection][name].shape != leaf.shape
    ]
    if differ:
        raise ValueError(
            f"training.begin_with is {folder!r}, whose network is no part of this one: {'; '.join(differ[:3])}"
            f"{f' and {len(differ) - 3} more' if len(differ) > 3 else ''}; make config.model agree with that run's"
        )
    mine, theirs = _meaning(experiment), _meaning(other)
    changed = [
        f"{name} is {theirs[name]!r} there and {value!r} here"
        for name, value in sorted(mine.items())
        if name in theirs and theirs[name] != value
    ]
    if changed:
        raise ValueError(
            f"training.begin_with is {folder!r}, whose weights would mean something else here: "
            f"{'; '.join(changed[:3])}; make them agree with that run's"
        )
    return _weights(folder, other, -1)


def _meaning(experiment: Experiment) -> dict[str, Any]:
    """Return what a config must have in common with another for weights to mean the same in both."""
    network, model = experiment.network, experiment.config.model
    options = {name: each.default for name, each in inspect.signature(MODELS[network.name].__init__).parameters.items()}
    options |= {"name": network.name, **dict(network.options)}
    # A consistency model's scalings are EDM's in all but the boundary: published ones begin with a model of EDM's.
    edms = model.preconditioning in ("edm", "consistency", "ect")
    options["preconditioning"] = "edm" if edms else model.preconditioning
    found = {f"model.{name}": frozen(value) for name, value in options.items() if name not in FREE}
    if model.preconditioning == "none":
        found |= {f"model.{name}": model[name] for name in ("prediction", "noise_label")}
        found["sde.name"] = experiment.config.sde.name
    return found


def begun(drawn: Variables, weights: Variables | None) -> Variables:
    """Return the variables that were drawn, with those `weights` in place of their own that there are."""
    found: Mapping[str, Any] = weights or {}
    return {collection: named | found.get(collection, {}) for collection, named in drawn.items()}


def _weights(folder: str, experiment: Experiment, step: int) -> Variables:
    with Workdir(folder).store(read_only=True) as store:
        return load(store, experiment.network, ema=True, step=step)[1]
