"""The objects a config names, built and checked without compiling anything."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import data
import samplers
import sde_lib
from data.scaling import Scaler
from experiment.guidance import check as check_guidance
from experiment.guidance import config_of_guide, guided_score
from experiment.ranges import check_config
from experiment.schedule import joined, parameters_of
from models import CLASSIFIERS, MODELS
from models.conditions import one_hot
from models.functional import Network

DATA_FIELDS = (
    "dataset", "image_size", "num_channels", "centered", "uniform_dequantization", "random_flip", "augment", "changed",
)  # fmt: skip
EMA_FIELDS = ("ema_rate", "ema_warmup", "ema_halflife_images", "ema_rampup")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One noise process, one data set, one network and the settings of its samplers."""

    config: ConfigDict
    sde: sde_lib.AffineSDE
    source: data.Source
    scaler: Scaler
    network: Network
    settings: samplers.Settings
    guide: "Experiment | None" = None

    @property
    def num_classes(self) -> int:
        """The classes that the network is told of, or tells apart; 0: none."""
        return self.config.model.get("label_dim", 0)

    @property
    def batch_fields(self) -> tuple[str, ...]:
        """What of an example the training and the likelihood take."""
        return ("image", "label") if self.num_classes else ("image",)

    def condition(self, labels: Any) -> dict[str, Any] | None:
        """What the network is told of examples of these classes [b]; None where it takes none or none are given."""
        return {"label": one_hot(labels, self.num_classes)} if self.num_classes and labels is not None else None

    def labels(self, first: int, count: int) -> np.ndarray | None:
        """The classes of the samples `first` to first + count - 1: ``sampling.label``, or each in turn; None: none."""
        classes = self.num_classes or (self.guide.num_classes if self.guide else 0)
        if not classes:
            return None
        drawn = np.arange(first, first + count) % classes
        return np.full_like(drawn, self.settings.label) if self.settings.label >= 0 else drawn

    @property
    def num_scales(self) -> int:
        """Noise levels of a discretely trained network, 0 for one trained in continuous time."""
        return num_scales(self.config)

    def score_fn(
        self, variables: dict[str, Any], *, chain: bool = False, condition: dict[str, Any] | None = None
    ) -> sde_lib.ScoreFn:
        """The score of the network with these variables, dropout off: what every sampler and likelihood takes.

        `chain`: of a discretely trained network at the noise levels of its chain, rather than smooth in t.
        `condition`: of a conditional network, for a batch of as many examples.
        """

        model, (process, apply) = self.config.model, self._process_and_network(variables, chain, condition)
        return sde_lib.score_fn(process, apply, model.prediction, model.noise_label, model.preconditioning)

    def score_and_variance_fn(
        self, variables: dict[str, Any], *, chain: bool = False, condition: dict[str, Any] | None = None
    ) -> sde_lib.ScoreAndVarianceFn:
        """The score, and the variance output of a network that has one, for a learned variance; see `score_fn`."""
        model, (process, apply) = self.config.model, self._process_and_network(variables, chain, condition)
        return sde_lib.score_and_variance_fn(process, apply, model.prediction, model.noise_label)

    @property
    def predicts_variance(self) -> bool:
        """Whether the network's output has twice the channels of the image: prediction and variance."""
        x, label = (jax.ShapeDtypeStruct((1, *shape), np.float32) for shape in (self.source.shape, ()))
        answer = jax.eval_shape(self.network.apply, self.network.abstract(), x, label)
        return not self.classifies and answer.shape != x.shape

    @property
    def classifies(self) -> bool:
        """Whether the network tells classes apart, rather than noise from data."""
        return self.config.model.name in CLASSIFIERS

    def logits_fn(self, variables: dict[str, Any], *, chain: bool = False) -> sde_lib.LogitsFn:
        """What a classifier with these variables says, dropout off; `chain` as in `score_fn`."""
        process, apply = self._process_and_network(variables, chain, None)
        return sde_lib.logits_fn(process, apply, self.config.model.noise_label)

    def log_prob_fn(self, variables: dict[str, Any], labels: Any, *, chain: bool = False) -> sde_lib.LogProbFn:
        """log p(label | x_t) by a classifier with these variables, for a batch of as many labels [b]; -1 gives 0."""
        return sde_lib.log_prob_fn(self.logits_fn(variables, chain=chain), labels)

    def _process_and_network(
        self, variables: dict[str, Any], chain: bool, condition: dict[str, Any] | None
    ) -> tuple[sde_lib.AffineSDE | sde_lib.Levels, Callable]:
        def apply(x: Any, c_noise: Any) -> Any:
            return self.network.apply(variables, x, c_noise, condition)

        return self.noising(variables, chain=chain), apply

    def noising(self, variables: dict[str, Any], *, chain: bool = False) -> sde_lib.AffineSDE | sde_lib.Levels:
        """What noises the data: `process`, or the levels of a discretely trained network; `chain` as in `score_fn`."""
        process = self.process(variables)
        return sde_lib.Levels(process, self.num_scales, exact=chain) if self.num_scales else process

    def process(self, variables: dict[str, Any]) -> sde_lib.AffineSDE:
        """The noise process with these variables: `sde`, or with a learned schedule its trained form."""
        return self.sde.with_parameters(parameters_of(variables["params"])) if self.sde.parameters else self.sde

    def sampler(
        self, variables: dict[str, Any], method: str, sde: sde_lib.AffineSDE | None = None, labels: Any = None
    ) -> Callable:
        """The sampler of that name with this experiment's settings, for examples of these classes [b] (`labels`).

        `sde` is `process(variables)`, made outside where the variables are traced: solvers take their tables from a
        noise schedule of concrete numbers.
        """
        settings = self.settings_of(method)
        sde = sde or self.process(variables)
        return samplers.create(sde, guided_score(self, variables, settings, sde, labels), settings)

    def settings_of(self, method: str) -> samplers.Settings:
        """This experiment's sampler settings for another method, as they are carried out."""
        return samplers.settled(self.sde, dataclasses.replace(self.settings, method=method))


def _source(config: ConfigDict) -> data.Source:
    """The data set of ``config.data``; its remaining keys are the source's own options."""
    options = {key: value for key, value in config.data.items() if key not in DATA_FIELDS}
    kind = config.data.dataset.partition(":")[0]
    if kind in data.SOURCES:
        known = inspect.signature(data.SOURCES[kind]).parameters
        options |= {
            key: config.data[key] for key in ("image_size", "num_channels") if key in known and key in config.data
        }
    source = data.create(config.data.dataset, **options)
    if "image_size" in config.data:
        size, channels = config.data.image_size, config.data.num_channels
        if source.shape != (size, size, channels):
            raise ValueError(
                f"data.image_size {size}, data.num_channels {channels}: the images of {config.data.dataset!r} "
                f"are {source.shape} (height, width, channels)"
            )
    elif len(source.shape) == 3:
        raise ValueError(f"data.image_size and data.num_channels are missing; {source.name!r} has {source.shape}")
    return source


def num_scales(config: ConfigDict) -> int:
    """The noise levels of discrete training, 0 for continuous time; ValueError where the config contradicts itself."""
    label, count = config.model.noise_label, config.model.get("num_scales", 0)
    if config.training.continuous:
        if label in sde_lib.LEVEL_LABELS:
            raise ValueError(
                f"model.noise_label {label!r} counts noise levels, and training.continuous is True; set it to False, "
                f"or take one of {', '.join(sde_lib.NOISE_LABELS)}"
            )
        return 0
    if count < 2:
        raise ValueError(
            f"training.continuous is False and model.num_scales {count}: say how many noise levels (published: 1000)"
        )
    return count


def network(config: ConfigDict, sde: sde_lib.AffineSDE, shape: tuple[int, ...]) -> Network:
    """The network of ``config.model``; its keys are the network's own, but for what says how it is used."""
    if config.model.name in CLASSIFIERS and config.model.preconditioning != "none":
        raise ValueError(
            f"model.preconditioning is {config.model.preconditioning!r}, and {config.model.name} is a classifier, "
            "whose input is scaled in its own way; set it to 'none'"
        )
    own = ("name", "prediction", "noise_label", "preconditioning", *EMA_FIELDS)
    options = {key: value for key, value in config.model.items() if key not in own}
    scales = num_scales(config)
    if scales:
        sde_lib.Levels(sde, scales)
        takes = inspect.signature(MODELS[config.model.name].__init__).parameters if config.model.name in MODELS else ()
        if "num_scales" not in takes:
            del options["num_scales"]
    for bound in ("sigma_min", "sigma_max"):
        if options.get(bound) is not None and bound in config.sde and options[bound] != config.sde[bound]:
            raise ValueError(
                f"model.{bound} is {options[bound]} and sde.{bound} {config.sde[bound]}; the network divides by the "
                "process's sigma, so the two must be equal"
            )
    if len(shape) == 3:
        options |= {"image_size": shape[0], "num_channels": shape[2], "centered": config.data.centered}
    else:
        options["shape"] = shape
    return joined(Network.create(config.model.name, **options), sde)


def network_of(config: ConfigDict) -> Network:
    """The network of a config, whose data set need not be there where the config names the images' size."""
    if "image_size" not in config.data:
        return build(config).network
    check_config(config)
    size = config.data.image_size
    return network(config, sde_lib.create(**config.sde), (size, size, config.data.num_channels))


def _stand_in(config: ConfigDict) -> data.Source:
    """A source without examples, of the images that files and TFDS hold: 256 levels, the size that the config says."""
    shape = config.data.image_size, config.data.image_size, config.data.num_channels
    empty = data.Arrays({"image": np.zeros((0, *shape), np.uint8)})
    return data.Source(config.data.dataset, empty, empty, shape, 256, config.model.get("label_dim", 0))


def build(config: ConfigDict, *, needs_data: bool = True) -> Experiment:
    """Everything that the config names, checked; without `needs_data` a data set outside the package may be absent.

    Raises:
      ValueError: a name, option or value that is not allowed; the message says which are.
      OSError: a data set that is not there.
    """
    check_config(config)
    sde = sde_lib.create(**config.sde)
    settings = samplers.Settings(**config.sampling)
    drawn_by = [dataclasses.replace(settings, method=method) for method in {settings.method, *config.eval.samplers}]
    for chosen in drawn_by:
        samplers.create(sde, lambda x, t: x, chosen)
    outside = config.data.dataset.partition(":")[0] in ("tfds", "folder") and "image_size" in config.data
    source = _source(config) if needs_data or not outside else _stand_in(config)
    if config.data.random_flip and len(source.shape) != 3:
        raise ValueError(
            f"data.random_flip is for images; the examples of {source.name!r} are {source.shape}; set it to False"
        )
    if settings.grid == "levels" and not num_scales(config):
        raise ValueError(
            "sampling.grid 'levels' is for networks trained on noise levels (training.continuous=False); use uniform"
        )
    if settings.threshold != "none" and source.levels is None:
        raise ValueError(f"sampling.threshold {settings.threshold!r}: {source.name!r} has no range; set it to 'none'")
    if config.training.loss in ("hybrid", "variational") and config.data.uniform_dequantization:
        raise ValueError(
            f"training.loss {config.training.loss!r} decodes whole levels; set data.uniform_dequantization to False"
        )
    dequantization = "uniform" if config.data.uniform_dequantization else "none"
    scaler = Scaler(source.levels, config.data.centered, dequantization)
    of_guide = config_of_guide(config)
    guide = build(of_guide, needs_data=False) if of_guide else None
    experiment = Experiment(config, sde, source, scaler, network(config, sde, source.shape), settings, guide)
    check_guidance(experiment)
    if any(chosen.learned_variance for chosen in drawn_by):
        if config.model.preconditioning != "none":
            raise ValueError(
                f"sampling.variance is {settings.variance!r} and model.preconditioning "
                f"{config.model.preconditioning!r}, whose networks say nothing of a variance; use small or large"
            )
        if not experiment.predicts_variance:
            raise ValueError(
                f"sampling.variance is {settings.variance!r}, and the network predicts none; use small or large, or a "
                "network with twice the channels (model.learned_variance=True)"
            )
    return experiment
