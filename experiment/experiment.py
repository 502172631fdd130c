"""An experiment is what a config names, as one frozen object: process, data set, network and samplers' settings."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

import conditions
import data
import samplers
import sde_lib
from autoencoders import Codec
from conditions import Tokens, only_present
from conditions.present import PRESENT
from conditions.readers import Reader
from experiment import encoded, made
from experiment.schedule import parameters_of
from experiment.telling import Telling
from limits import sides
from models import AUTOENCODERS, CATEGORICAL, CLASSIFIERS, GENERATORS, MATCHERS, MODELS
from models.functional import Network
from sde_lib.prediction import NetworkFn


def num_scales(config: ConfigDict) -> int:
    """The number of noise levels of a discrete training; 0 stands for continuous time."""
    return 0 if config.training.continuous else config.model.get("num_scales", 0)


def image_shape(config: ConfigDict) -> tuple[int, int, int] | None:
    """The (height, width, channels) of the images; None where the config leaves them to its data set."""
    if "image_size" not in config.data:
        return None
    return *sides(config.data.image_size), config.data.num_channels


def options_of(config: ConfigDict) -> dict[str, Any]:
    """The options of the network that a config names, those it leaves out by their defaults."""
    if config.model.name not in MODELS:
        return config.model.to_dict()
    parameters = inspect.signature(MODELS[config.model.name].__init__).parameters
    defaults = {name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty}
    return defaults | config.model.to_dict()


CONSISTENCY_LOSSES = ("consistency", "improved_consistency", "easy_consistency", "continuous_consistency")
"""Losses of maps to the end of a path, whose networks say nothing of the flow's velocity."""


ADVERSARIAL = "adversarial"
"""The loss of generators that a discriminator trains, whose networks say nothing of a noise process."""


def generates(config: ConfigDict) -> bool:
    """Whether a config is of a generator, which makes data of noise in one evaluation (`experiment.generators`)."""
    return config.model.name in GENERATORS or config.training.loss == ADVERSARIAL


@dataclasses.dataclass(frozen=True)
class Experiment(Telling):
    """One noise process, one data set, one network and the settings of its samplers; `experiment.build` makes it.

    Attributes:
      config: the whole config, checked.
      sde: the noise process; one with a learned schedule has its initial values. Of a network of categories
        (`of_categories`) it is a `sde_lib.CategoricalProcess`.
      source: the data set.
      codec: takes stored data to x and back.
      network: the network, without weights.
      settings: those of the samplers, ``config.sampling``.
      guide: the run of ``sampling.guide``; None where there is none.
      reader: what reads texts for the network; None of a network that reads none, or is given what it is told.
      prompts: the texts of which samples are drawn, in turn; none: the captions of the test set.
      negative: the texts that guidance leads away from, in turn; none: it leads away from no text.
      ready: what `encoded` is where that lies ready, kept or joined by another run; None where it does not.
      upsampler: the run of ``sampling.upsampler``, which enlarges the samples; None where nothing does.
    """

    config: ConfigDict
    sde: sde_lib.AffineSDE
    source: data.Source
    codec: Codec
    network: Network
    settings: samplers.Settings
    guide: "Experiment | None" = None
    reader: Reader | None = None
    prompts: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    ready: data.Source | None = None
    upsampler: "Experiment | None" = None

    @functools.cached_property
    def encoded(self) -> data.Source:
        """The data set as the codec takes it: of latents what the encoder says of each picture, else `source`."""
        return self.ready or encoded.source(self.source, self.codec, mirrored=self.config.data.random_flip)

    @property
    def finest(self) -> "Experiment":
        """The run whose pictures the samples are: the last of those that enlarge them, or itself."""
        return self.upsampler.finest if self.upsampler else self

    @property
    def num_classes(self) -> int:
        """The number of classes that the network is told of, or tells apart; 0 where there are none."""
        return self.config.model.get("label_dim", 0)

    @property
    def sampled_classes(self) -> int:
        """The number of classes that samples are drawn of, the network's or its guide's; 0 where there are none."""
        return self.num_classes or (self.guide.num_classes if self.guide else 0)

    @property
    def batch_fields(self) -> tuple[str, ...]:
        """The fields of an example that the training and the likelihood take."""
        if self.classifies or self.matches:
            return (self.codec.field, *(("label",) if self.classifies else Tokens.fields))
        told = [name for name in self.conditioner.fields if name not in self.conditioner.made_fields]
        return (self.codec.field, *told)

    @property
    def conditioner(self) -> conditions.Together:
        """From the fields of records to what the network is told, which of a classifier and of a CLIP is nothing."""
        if self.classifies or self.matches:
            return conditions.Together()
        reader = self.reader
        beside: dict[str, Any] = {"padded": self.source.padded}
        if reader:
            beside["nothing"] = lambda: reader.nothing
        return conditions.of_network({**options_of(self.config), "size": self._size, **beside})

    def condition(self, fields: Mapping[str, Any]) -> conditions.Condition | None:
        """What the network is told of examples with these fields of records, arrays [b, ...].

        A kind of condition is left out where a field that it is made of is missing or None; the condition is None where
        there is none. Raises ValueError for a missing field without which the network cannot do.
        """
        return self.conditioner.of(fields).encode(fields) or None

    def condition_of(self, batch: Mapping[str, Any]) -> conditions.Condition | None:
        """The `condition` of examples whose data are among the fields, of which it is made where training does so."""
        return self.condition(made.of_data(self.conditioner, self.codec, batch[self.codec.field]) | dict(batch))

    @property
    def num_scales(self) -> int:
        """The number of noise levels of a discrete training; 0 stands for continuous time."""
        return num_scales(self.config)

    @property
    def parameterization(self) -> sde_lib.Parameterization:
        """What the network's output means and how it is told the noise."""
        model = self.config.model
        told_end = model.get("told_end", False)
        return sde_lib.parameterization(model.prediction, model.noise_label, model.preconditioning, told_end)

    def predict_fn(
        self,
        variables: dict[str, Any],
        *,
        chain: bool = False,
        condition: dict[str, Any] | None = None,
        sde: sde_lib.AffineSDE | None = None,
    ) -> sde_lib.PredictFn:
        """The predictions of the network, without dropout, which every sampler and likelihood takes.

        Args:
          variables: the network's weights.
          chain: whether a discretely trained network is asked at the levels of its chain, rather than smoothly in t.
          condition: what a conditional network is told of each example of the batch.
          sde: the process along which it is asked, in place of its own with these variables (`samplers.process_of`).
        """
        process = self.noising(variables, chain=chain, sde=sde)
        return _of_present(self.parameterization.predict_fn(process, self._told(variables, condition)), condition)

    @property
    def of_categories(self) -> bool:
        """Whether x are categories, and the network gives their probabilities rather than a score."""
        return self.config.model.name in CATEGORICAL

    @property
    def reading(self) -> sde_lib.CategoricalReading:
        """What the logits of a network of categories mean."""
        return sde_lib.CategoricalReading(self.config.model.reading)

    def belief_fn(
        self,
        variables: dict[str, Any],
        *,
        condition: dict[str, Any] | None = None,
        process: sde_lib.CategoricalProcess | None = None,
    ) -> sde_lib.BeliefFn:
        """What a network of categories says, without dropout; samplers and bounds over categories take it.

        Args:
          variables: the network's weights.
          condition: what a conditional network is told of each example of the batch.
          process: the chain along which it is asked, in place of its own (`samplers.process_of`).
        """
        along: Any = process or self.sde
        return self.reading.belief_fn(along, self._told(variables, condition))

    @property
    def predicts_variance(self) -> bool:
        """Whether the network's output has twice the channels of the image: prediction and variance."""
        if not self.denoises or self.of_categories:
            return False
        x, label = (jax.ShapeDtypeStruct((1, *shape), np.float32) for shape in (self.codec.shape, ()))
        return jax.eval_shape(self.network.apply, self.network.abstract(), x, label).shape != x.shape

    @property
    def denoises(self) -> bool:
        """Whether the network tells noise from data, so that a sampler can follow what it says."""
        return not (self.classifies or self.compresses or self.matches or self.generates)

    @property
    def generates(self) -> bool:
        """Whether the network makes data of noise in one evaluation, and says nothing of a noise process."""
        return generates(self.config)

    @property
    def draws(self) -> bool:
        """Whether samples can be drawn: it denoises, or generates."""
        return self.denoises or self.generates

    @property
    def prior_shape(self) -> tuple[int, ...]:
        """The shape of a point of the prior: that of x, or of a decoder's latents."""
        if not (self.generates and self.compresses):
            return self.codec.shape
        return self.network.module(self.network.abstract()).latent_shape

    @property
    def classifies(self) -> bool:
        """Whether the network tells classes apart, rather than noise from data."""
        return self.config.model.name in CLASSIFIERS

    @property
    def compresses(self) -> bool:
        """Whether the network takes images to a smaller grid and back, rather than noise from data."""
        return self.config.model.name in AUTOENCODERS

    @property
    def matches(self) -> bool:
        """Whether the network says how well images and texts fit, rather than telling noise from data."""
        return self.config.model.name in MATCHERS

    @property
    def is_consistency_model(self) -> bool:
        """Whether the network says where a path of the flow ends, and so nothing of the flow's velocity."""
        config = self.config
        return config.model.preconditioning in ("consistency", "ect") or (
            config.training.loss in CONSISTENCY_LOSSES and not self.parameterization.told_end
        )

    def logits_fn(
        self, variables: dict[str, Any], *, chain: bool = False, sde: sde_lib.AffineSDE | None = None
    ) -> sde_lib.LogitsFn:
        """The logits of a classifier with these variables, without dropout; `chain` and `sde` as in `predict_fn`."""
        process = self.noising(variables, chain=chain, sde=sde)
        return sde_lib.logits_fn(process, self._told(variables, None), self.config.model.noise_label)

    def log_prob_fn(
        self, variables: dict[str, Any], labels: Any, *, chain: bool = False, sde: sde_lib.AffineSDE | None = None
    ) -> sde_lib.LogProbFn:
        """The classifier's log p(label | x_t) of a batch of as many labels [b]; it is 0 for the label -1."""
        return sde_lib.log_prob_fn(self.logits_fn(variables, chain=chain, sde=sde), labels)

    def agreement_fn(
        self, variables: dict[str, Any], tokens: Any, *, chain: bool = False, sde: sde_lib.AffineSDE | None = None
    ) -> sde_lib.LogProbFn:
        """A CLIP's logit of each example x_t with its own text, by the texts' tokens [b, n]: (x, t) -> [b].

        It is exp(logit_scale) times the cosine of their features, of which `samplers.classifier_guide` takes the
        gradient. `chain` and `sde` are as in `predict_fn`. One evaluation of the image tower a call.
        """
        process, module = self.noising(variables, chain=chain, sde=sde), self.network.module(variables)
        seen = sde_lib.features_fn(process, module.encode_image, self.config.model.noise_label)
        said = module.encode_text(jnp.asarray(tokens, jnp.int32))
        return lambda x, t: module.agreement(seen(x, t), said)

    def _told(self, variables: dict[str, Any], condition: dict[str, Any] | None) -> NetworkFn:
        """The network with these variables, which is always told the same, but for the ends of jumps."""

        def network(x: Array, c_noise: Array, *end: Array) -> Array:
            return self.network.apply(variables, x, c_noise, conditions.with_end(condition, *end))

        return network

    def noising(
        self, variables: dict[str, Any], *, chain: bool = False, sde: sde_lib.AffineSDE | None = None
    ) -> sde_lib.AffineSDE | sde_lib.NoiseLevels:
        """The process that noises the data, or the levels of a discrete training, as `predict_fn` takes them."""
        process = sde or self.process(variables)
        return sde_lib.NoiseLevels(process, self.num_scales, exact=chain) if self.num_scales else process

    def process(self, variables: dict[str, Any]) -> sde_lib.AffineSDE:
        """The noise process with these variables: it is `sde`, or its trained form where the schedule is learned."""
        return self.sde.with_parameters(parameters_of(variables["params"])) if self.sde.parameters else self.sde

    def settings_of(self, method: str) -> samplers.Settings:
        """The settings of another method, as they are carried out (`samplers.settled`)."""
        chosen = dataclasses.replace(self.settings, method=method)
        return chosen if chosen.over_categories or chosen.generates else samplers.settled(self.sde, chosen)


def _of_present(predict: sde_lib.PredictFn, condition: dict[str, Any] | None) -> sde_lib.PredictFn:
    """The predictions, which are 0 at the points that a condition says are absent, whatever x is there."""
    if PRESENT not in (condition or {}):
        return predict

    def function(x: Array, t: Array, *s: Array) -> sde_lib.Prediction:
        return jax.tree.map(lambda part: only_present(part, condition), predict.function(x, t, *s))

    return dataclasses.replace(predict, function=function)
