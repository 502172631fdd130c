"""The rules of a config by itself, and of the modes that it is for: its fields must not contradict each other."""

from typing import Any

from ml_collections import ConfigDict

import sde_lib
from autoencoders import CODECS
from experiment import ranges
from experiment.experiment import ADVERSARIAL, generates, options_of
from experiment.rules.base import Broken, check
from limits import SEED
from models import (
    AUTOENCODERS,
    CATEGORICAL,
    CLASSIFIERS,
    DISCRIMINATORS,
    GENERATORS,
    MATCHERS,
    MODELS,
    TEXT_ENCODERS,
)
from models.likelihoods import LIKELIHOODS
from samplers.settings import GENERATOR
from sde_lib.parameterization import BLIND_TO_NOISE
from sde_lib.prediction import begins_in_noise

LEAST_FOR_INCEPTION = 10
"""The splits of the Inception Score, none of which may be empty."""

LOSSES_OF_AUTOENCODERS = (
    f"autoencoders ({', '.join(AUTOENCODERS)}) have a loss of their own, and no other network has it: 'vae' trains "
    f"those with the prior N(0, I) and a likelihood of data ({', '.join(GENERATORS)}), and 'autoencoder' the others"
)
"""What is allowed where a loss and an autoencoder do not go together."""


def check_config(config: ConfigDict) -> None:
    """Refuse, with a ValueError, a config in which a field is out of its range or fields contradict each other."""
    ranges.check_config(config)
    check(of_config(config))


def of_config(config: ConfigDict) -> Broken:
    """The rules of a config by itself: its fields must not contradict each other."""
    model, training, sampling, evaluate = config.model, config.training, config.sampling, config.eval
    if training.continuous and model.noise_label in sde_lib.LEVEL_LABELS:
        yield (
            f"model.noise_label {model.noise_label!r} counts noise levels, and training.continuous is True; set it to "
            f"False, or take one of {', '.join(sde_lib.NOISE_LABELS)}"
        )
    if not training.continuous and (scales := model.get("num_scales", 0)) < 2:
        yield (
            f"training.continuous is False and model.num_scales {scales}: say how many noise levels (published: 1000)"
        )
    if sampling.grid == "levels" and training.continuous:
        yield "sampling.grid 'levels' is for networks trained on noise levels (training.continuous=False); use uniform"
    trained = [name for name in MODELS if name not in (*DISCRIMINATORS, *TEXT_ENCODERS)]
    if model.name in DISCRIMINATORS:
        yield (
            f"model.name is {model.name!r}, which the training of an autoencoder makes for itself, by the fields "
            f"training.disc_*; take one of {', '.join(trained)}"
        )
    if model.name in TEXT_ENCODERS:
        yield (
            f"model.name is {model.name!r}, which reads texts and comes from published files; what is trained is one "
            f"of {', '.join(trained)}"
        )
    if model.name in (*CLASSIFIERS, *MATCHERS) and model.preconditioning != "none":
        kind = "a classifier" if model.name in CLASSIFIERS else "a CLIP"
        yield (
            f"model.preconditioning is {model.preconditioning!r}, and {model.name} is {kind}, whose input is "
            "scaled in its own way; set it to 'none'"
        )
    noisy = config.data.uniform_dequantization and model.name not in GENERATORS
    if model.name in AUTOENCODERS and (model.preconditioning != "none" or noisy):
        yield (
            f"model.preconditioning is {model.preconditioning!r} and data.uniform_dequantization "
            f"{config.data.uniform_dequantization}, and {model.name} is an autoencoder, which takes them as they are: "
            "set these to 'none' and False"
        )
    if model.name in AUTOENCODERS and config.data.codec not in CODECS:
        yield (
            f"data.codec is {config.data.codec!r}, and {model.name} is an autoencoder, which takes images as they are "
            f"stored; set it to {' or '.join(CODECS)}"
        )
    if not config.visualize.places % 2:
        yield (
            f"visualize.places is {config.visualize.places}; it must be an odd number, so that 50 % is "
            "among the places of the slider"
        )
    yield from _of_generators(config)
    yield from _of_categories(config)
    yield from _of_reader(config)
    for bound in ("sigma_min", "sigma_max"):
        if model.get(bound) is not None and bound in config.sde and model[bound] != config.sde[bound]:
            yield (
                f"model.{bound} is {model[bound]} and sde.{bound} {config.sde[bound]}; the network divides by the "
                "process's sigma, so the two must be equal"
            )
    if evaluate.seed + evaluate.seeds - 1 > SEED.high:
        yield (
            f"eval.seed is {evaluate.seed} and eval.seeds {evaluate.seeds}; the last seed, the sum less 1, must be at "
            f"most {SEED.high}"
        )
    if evaluate.reference_stats and not evaluate.inception:
        yield (
            f"eval.reference_stats is {evaluate.reference_stats!r} and eval.inception is empty; statistics are of the "
            "features of that network: give eval.inception its weights, or leave eval.reference_stats empty"
        )
    if evaluate.inception and evaluate.enable_sampling and evaluate.num_samples < LEAST_FOR_INCEPTION:
        yield (
            f"eval.num_samples is {evaluate.num_samples}; with eval.inception it must be at least "
            f"{LEAST_FOR_INCEPTION}, the splits of the Inception Score"
        )
    if evaluate.ema_std and not evaluate.ema:
        yield (
            f"eval.ema_std is {evaluate.ema_std}, the width of an average, and eval.ema False, the raw weights; set "
            "eval.ema to True, or eval.ema_std to 0"
        )
    begin, end = evaluate.begin_step, evaluate.end_step
    if end and begin > end:
        yield f"eval.begin_step is {begin} and eval.end_step {end}, a range without a step; the former may not be above"
    if end and evaluate.checkpoint >= 0:
        yield f"eval.checkpoint is {evaluate.checkpoint} and eval.end_step {end}; give one step or a range, not both"
    if not end and (begin or evaluate.wait_minutes):
        yield (
            f"eval.begin_step is {begin} and eval.wait_minutes {evaluate.wait_minutes} without an eval.end_step; "
            "a range needs its last step"
        )


def _of_generators(config: ConfigDict) -> Broken:
    """The rules of generators, which are drawn in one evaluation, and of what their decoders say of grey levels."""
    if config.model.name in AUTOENCODERS and config.training.loss == ADVERSARIAL:
        yield f"training.loss is {ADVERSARIAL!r} and model.name {config.model.name!r}; {LOSSES_OF_AUTOENCODERS}"
    drawn_by, own = config.sampling.scheduler or config.sampling.method, generates(config)
    for method in dict.fromkeys((drawn_by, *config.eval.samplers)):
        if (method == GENERATOR) != own:
            kind = "a generator, which makes data of noise in one evaluation" if own else "no generator"
            others = f"take other samplers, or training.loss {ADVERSARIAL!r}, or model.name {' or '.join(GENERATORS)}"
            mend = f"set both to {GENERATOR!r}" if own else others
            yield (
                f"sampling.method is {drawn_by!r} and eval.samplers {tuple(config.eval.samplers)}, and "
                f"model.name {config.model.name!r} with training.loss {config.training.loss!r} is {kind}; {mend}"
            )
    options = options_of(config)
    if config.model.name in GENERATORS and (likelihood := LIKELIHOODS.get(options["likelihood"])):
        noise = config.data.uniform_dequantization
        if likelihood.of_levels == noise:
            kind = "grey levels as they are" if likelihood.of_levels else "a density, of dequantised grey levels"
            yield (
                f"data.uniform_dequantization is {noise}, and model.likelihood {options['likelihood']!r} is of {kind}; "
                f"set it to {not noise}"
            )


def _of_categories(config: ConfigDict) -> Broken:
    """The rules of a process and a network of which one or the other is of categories."""
    network, process = config.model.name in CATEGORICAL, config.sde.name in sde_lib.OVER_CATEGORIES
    if network != process and config.model.name in MODELS:
        yield (
            f"sde.name is {config.sde.name!r}, and model.name {config.model.name!r}: networks of categories, which are "
            f"{', '.join(CATEGORICAL)}, go with sde.name {', '.join(sde_lib.OVER_CATEGORIES)}, and only they do"
        )
    if process and not config.training.continuous:
        yield "training.continuous is False, which is of Gaussian chains; set it to True (d3pm has sde.n levels)"


def of_noise(config: ConfigDict, sde: Any) -> Broken:
    """The rules of a config and its noise process."""
    if config.sde.name in sde_lib.OVER_CATEGORIES:
        return
    if sde.num_levels and begins_in_noise(sde) and config.model.prediction in BLIND_TO_NOISE:
        yield (
            f"model.prediction is {config.model.prediction!r}, and the last level of the chain has no signal "
            "(sde.zero_snr), of which such a network says nothing; set it to 'v' or 'x0', or leave zero_snr False"
        )


def _of_reader(config: ConfigDict) -> Broken:
    """The rules of a network and of the field that names what reads texts for it."""
    options, data, network = options_of(config), config.data, repr(config.model.name)
    tokens, features = options.get("tokens", 0), options.get("text_dim", 0)
    if data.text_encoder and data.tokenizer:
        yield (
            f"data.text_encoder is {data.text_encoder!r} and data.tokenizer {data.tokenizer!r}; a text encoder has a "
            "tokenizer of its own: leave one of them ''"
        )
    if data.tokenizer and features:
        yield (
            f"data.tokenizer is {data.tokenizer!r}, and model.name {network} is told features of texts and not their "
            "tokens; name a data.text_encoder, and leave it ''"
        )
    for field, reads in (("tokenizer", tokens), ("text_encoder", features)):
        if data[field] and not reads:
            other = (
                "is told tokens: name a data.tokenizer, and leave it ''" if tokens else "reads no texts; set it to ''"
            )
            yield f"data.{field} is {data[field]!r}, and model.name {network} {other}"


def of_images(config: ConfigDict, mode: str) -> Broken:
    """The rules of a mode that draws images or measures them."""
    if config.model.name in (*CLASSIFIERS, *MATCHERS):
        kind = "a classifier" if config.model.name in CLASSIFIERS else "a CLIP"
        yield (
            f"--mode={mode} is not for {kind}, and model.name is {config.model.name!r}; --mode=train and "
            "evaluate are, and sampling.guide=FOLDER lets it guide another run"
        )
    if mode == "edit" and config.model.get("upsampling"):
        yield (
            f"--mode=edit has no smaller picture to tell, and model.upsampling is {config.model.upsampling}: this "
            "network enlarges one; edit with the run whose samples it enlarges"
        )
    if mode == "edit" and not config.edit.image and config.data.get("path") == "" == config.data.get("test_path", ""):
        yield (
            "edit.image is '', and there is no test set (data.path is '') whose pictures could stand for it; give "
            "edit.image a picture, or a folder of pictures"
        )
    if mode == "compare" and config.sampling.upsampler:
        yield (
            f"--mode={mode} is of a run's own samples, and sampling.upsampler is {config.sampling.upsampler!r}; leave "
            "it ''"
        )
    if mode == "edit" and config.sampling.upsampler and (config.edit.task != "inpaint" or not config.edit.image):
        yield (
            f"sampling.upsampler is {config.sampling.upsampler!r}, which paints at full size what edit.task 'inpaint' "
            f"has painted in a picture from a file, and edit.task is {config.edit.task!r} and edit.image "
            f"{config.edit.image!r}; take that task and name a picture, or leave it ''"
        )
    if config.model.name in CATEGORICAL and mode in ("reproduce", "export"):
        yield (
            f"--mode={mode} is of networks that say a score, and model.name is {config.model.name!r}, of categories; "
            "--mode=train, sample, evaluate, compare and edit are for it"
        )
    if config.model.name in CATEGORICAL and mode == "edit":
        yield from _of_edited_categories(config)
    yield from of_generator(config, mode)
    if config.model.name in AUTOENCODERS and mode in NO_SAMPLES and not generates(config):
        yield (
            f"--mode={mode} draws samples, and model.name is {config.model.name!r}, an autoencoder, which has none to "
            "draw; --mode=evaluate measures its reconstructions, and data.codec=FOLDER trains a model of its latents"
        )


def _of_edited_categories(config: ConfigDict) -> Broken:
    """The rules of an edit of categories, which are known as they are."""
    edit, name = config.edit, config.model.name
    if edit.task not in ("inpaint", "vary"):
        yield (
            f"edit.task is {edit.task!r}, of numbers with an order and a flow, and model.name {name!r}, of categories; "
            "take inpaint or vary"
        )
    if edit.method != "auto" or edit.noise:
        yield (
            f"edit.method is {edit.method!r} and edit.noise {edit.noise}, which say how a score is led, and model.name "
            f"is {name!r}, of categories, of which those that are known are exact; leave them 'auto' and 0"
        )


def of_generator(config: ConfigDict, mode: str) -> Broken:
    """The rules of a mode and a generator, which says no score that could be followed, and no other program reads."""
    if generates(config) and mode in NO_GENERATOR:
        yield (
            f"--mode={mode} is not for a generator, which makes data of noise in one evaluation and says no score; "
            f"model.name is {config.model.name!r} and training.loss {config.training.loss!r}: --mode=train, sample and "
            "evaluate are for it"
        )


NO_GENERATOR = ("edit", "compare", "visualize", "reproduce", "export", "import")
"""Modes that follow a score, compare ways to follow it, or exchange weights with programs that do."""
NO_SAMPLES = ("sample", "edit", "compare", "visualize", "reproduce")
"""Modes that draw samples, which an autoencoder alone does not."""
