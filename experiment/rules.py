"""All rules of a config beside the ranges of its fields: what the fields say of each other, and of what they name.

A rule is a condition and the message that refuses it: what was received, what is allowed, how to mend it. Each function
holds the rules of one thing, and yields the messages of those that are broken; `check` raises the first. What a single
field may be is in `experiment.ranges`; what the options of a process, a network, a data set, a sampler or a loss may be
is checked by their constructors.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import samplers
import sde_lib
from autoencoders import CODECS, Latents, of_one_space
from conditions.readers import Reader, TokenReader
from conditions.tokenizers import Tokenizer
from data import Source
from data.geometry import LABELS
from experiment import made, ranges
from experiment.experiment import Experiment, image_shape, options_of
from experiment.text_encoder import FrozenReader
from limits import SEED
from models import AUTOENCODERS, CLASSIFIERS, DISCRIMINATORS, MATCHERS, MODELS, TEXT_ENCODERS
from models.autoencoder import AutoencoderVQ
from models.vgg16 import LEAST_SIDE
from sde_lib.parameterization import BLIND_TO_NOISE
from sde_lib.prediction import begins_in_noise

Broken = Iterator[str]
"""The messages of the rules that are broken, in order."""

LEAST_FOR_INCEPTION = 10
"""The splits of the Inception Score, none of which may be empty."""


def check(broken: Broken) -> None:
    """Refuse what breaks a rule, with a ValueError of the first message."""
    for message in broken:
        raise ValueError(message)


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
    if model.name in AUTOENCODERS and (model.preconditioning != "none" or config.data.uniform_dequantization):
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


def of_noise(config: ConfigDict, sde: sde_lib.AffineSDE) -> Broken:
    """The rules of a config and its noise process."""
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


def of_data(config: ConfigDict, source: Source) -> Broken:
    """The rules of a config and its data set."""
    shape, told = image_shape(config), config.model.get("label_dim", 0)
    if shape is None and len(source.shape) == 3:
        yield f"data.image_size and data.num_channels are missing; {source.name!r} has {source.shape}"
    if shape not in (None, source.shape):
        yield (
            f"data.image_size {config.data.image_size}, data.num_channels {config.data.num_channels}: the images of "
            f"{config.data.dataset!r} are {source.shape} (height, width, channels)"
        )
    for name, without in (("random_flip", False), ("augment", 0)):
        if config.data[name] and len(source.shape) != 3:
            yield f"data.{name} is for images; the examples of {source.name!r} are {source.shape}; set it to {without}"
    if config.sampling.threshold != "none" and source.levels is None:
        yield f"sampling.threshold {config.sampling.threshold!r}: {source.name!r} has no range; set it to 'none'"
    if told not in (0, source.num_classes):
        yield (
            f"model.label_dim is {told}, and the examples of {source.name!r} have {source.num_classes or 'no'} "
            f"classes; set it to {source.num_classes}"
        )


def of_texts(config: ConfigDict, reader: Reader | None, guide: Experiment | None = None) -> Broken:
    """The rules of a config and what reads its texts: for the network, and for a guide, by itself."""
    options, network = options_of(config), repr(config.model.name)
    tokens, features = options.get("tokens", 0), options.get("text_dim", 0)
    if isinstance(reader, FrozenReader):
        yield from _of_features(config, options, reader)
    elif isinstance(reader, TokenReader):
        yield from _of_tokens(config, options, reader.tokenizer)
    of_network = ("negative_prompt",) if guide and guide.matches else ("prompt", "negative_prompt")
    for name in of_network:
        if config.sampling[name] and not (tokens or features):
            yield f"sampling.{name} is {config.sampling[name]!r}, and model.name {network} reads no texts; leave it ''"
        elif config.sampling[name] and not reader:
            field, made = ("text_encoder", "features") if features else ("tokenizer", "tokens")
            yield f"sampling.{name} is {config.sampling[name]!r}, and data.{field} ''; name what makes {made} of it"
    if config.sampling.told_size and not options.get("pooled_dim", 0):
        yield (
            f"sampling.told_size is {config.sampling.told_size}, and model.name {network} is told no size "
            "(model.pooled_dim is 0); leave it ()"
        )


def _of_tokens(config: ConfigDict, options: Mapping[str, Any], tokenizer: Tokenizer) -> Broken:
    """The rules of a network that reads tokens, and the tokenizer that makes them."""
    named, tokens, vocabulary = config.data.tokenizer, options.get("tokens", 0), options.get("vocabulary", 0)
    if tokens and tokenizer.length != tokens:
        yield f"model.tokens is {tokens}, and data.tokenizer {named!r} makes {tokenizer.length} of a text; set it so"
    if vocabulary and tokenizer.size > vocabulary:
        yield f"model.vocabulary is {vocabulary}, and data.tokenizer {named!r} knows {tokenizer.size} tokens; raise it"


def _of_features(config: ConfigDict, options: Mapping[str, Any], reader: FrozenReader) -> Broken:
    """The rules of a network that is told features, and the text encoder that makes them."""
    for option, field, where in (("text_dim", "text", -1), ("pooled_dim", "pooled", 0)):
        wanted, made = options.get(option, 0), reader.shapes.get(field, (0,))[where]
        if wanted and wanted != made:
            yield (
                f"model.{option} is {wanted}, and the text encoder of data.text_encoder {config.data.text_encoder!r} "
                f"makes {made or 'no'} such features; give the one that the network was trained with"
            )


def of_codec(config: ConfigDict, source: Source, run: Experiment) -> Broken:
    """The rules of a config whose codec is a run."""
    name = f"data.codec is {config.data.codec!r}"
    if not run.compresses:
        yield (
            f"{name}, whose network is {run.config.model.name!r}; it must be {' or '.join(CODECS)}, or the folder of "
            f"an autoencoder's run ({', '.join(AUTOENCODERS)})"
        )
    if len(source.shape) != 3 or source.levels is None:
        yield f"{name}, an autoencoder of pictures; the examples of {source.name!r} are {source.shape}"
    if source.shape[-1] != run.codec.shape[-1]:
        yield f"{name}, of pictures of {run.codec.shape[-1]} channels; those of {source.name!r} have {source.shape[-1]}"
    if not config.data.centered or config.data.uniform_dequantization:
        yield (
            f"{name}, whose pictures lie in [-1, 1] without noise: set data.centered to True and "
            "data.uniform_dequantization to False"
        )
    if config.data.augment:
        yield f"{name} and data.augment {config.data.augment}, which turns and stretches pictures; set it to 0"
    if config.sampling.threshold != "none":
        yield f"sampling.threshold is {config.sampling.threshold!r}, and latents have no range; set it to 'none'"
    if config.model.name in AUTOENCODERS:
        yield f"{name} and model.name {config.model.name!r}; an autoencoder is trained on pictures: set it to levels"


def of_known_latents(experiment: Experiment) -> Broken:
    """The rules of a run that is used: a training has measured what its config leaves open."""
    codec, data = experiment.codec, experiment.config.data
    if isinstance(codec, Latents) and None in (codec.scale, codec.shift):
        yield (
            f"data.latent_scale is {data.latent_scale} and data.latent_shift {data.latent_shift}, and the autoencoder "
            f"of data.codec {data.codec!r} says neither; give both, as the model was trained with"
        )


def of_guide(experiment: Experiment, guide: Experiment) -> Broken:
    """The rules of an experiment and the run that guides its samples."""
    folder, settings = repr(experiment.settings.guide), experiment.settings
    if guide.compresses:
        yield f"sampling.guide {folder} is an autoencoder ({guide.config.model.name}), which guides nothing"
    for key in ("image_size", "num_channels", "centered"):
        ours, theirs = experiment.config.data.get(key), guide.config.data.get(key)
        if ours != theirs:
            yield (
                f"sampling.guide {folder} has data.{key} {theirs}, and this run {ours}; a guide must have seen the "
                "same kind of images"
            )
    if not of_one_space(guide.codec, experiment.codec):
        yield (
            f"sampling.guide {folder} has data.codec {guide.config.data.codec!r}, and this run "
            f"{experiment.config.data.codec!r}; a guide must have seen the same x: the same codec, scale and shift"
        )
    if guide.num_classes and not guide.classifies and not experiment.num_classes:
        yield (
            f"sampling.guide {folder} is a model of {guide.num_classes} classes, of which this network knows none, so "
            "its samples would leave their class; give a classifier, or a weaker model without classes"
        )
    if guide.sde.parameters or repr(guide.sde) != repr(experiment.sde):
        theirs, ours = guide.config.sde.to_dict(), experiment.config.sde.to_dict()
        learned = " (each with a schedule of its own)" if guide.sde.parameters else ""
        yield (
            f"sampling.guide {folder} has learned the noise {theirs} and this run {ours}{learned}; they must be the "
            "same"
        )
    if guide.num_classes not in (0, experiment.sampled_classes):
        yield f"sampling.guide {folder} knows {guide.num_classes} classes, and this run {experiment.sampled_classes}"
    if not guide.denoises and settings.guidance_rescale:
        yield (
            f"sampling.guidance_rescale is {settings.guidance_rescale}, which is for guidance by a second score, and "
            f"sampling.guide {folder} is a {'CLIP' if guide.matches else 'classifier'}; set it to 0"
        )
    if settings.negative_prompt:
        yield (
            f"sampling.negative_prompt is {settings.negative_prompt!r}, and sampling.guide {folder} guides, which "
            "leads away from no text; leave one of them ''"
        )
    size = experiment.config.sampling.height, experiment.config.sampling.width
    if guide.matches and any(size):
        yield (
            f"sampling.height is {size[0]} and sampling.width {size[1]}, and sampling.guide {folder} is a CLIP of "
            "pictures of one size; leave both at 0"
        )
    if guide.matches:
        yield from (f"sampling.guide {folder}: {message}" for message in _of_noise_told(guide))
    if guide.matches and not guide.reader:
        yield (
            f"sampling.guide {folder} reads texts, and its data.tokenizer is ''; name what makes tokens of "
            "them, words or the folder of a table (clip:FOLDER, openai:FOLDER), when it is trained or imported"
        )


def of_upsampler(experiment: Experiment) -> Broken:
    """The rules of an experiment and the run that enlarges its samples."""
    upsampler, folder = experiment.upsampler, repr(experiment.config.sampling.upsampler)
    assert upsampler  # they are of such an experiment alone
    ours, theirs, factor = experiment.source, upsampler.source, upsampler.config.model.get("upsampling", 0)
    if "low_res" not in upsampler.conditioner.fields:
        yield (
            f"sampling.upsampler {folder} has model.name {upsampler.config.model.name!r}, which is told no smaller "
            "picture; give a run that was trained with model.upsampling"
        )
    if isinstance(upsampler.codec, Latents):
        yield f"sampling.upsampler {folder} enlarges latents (data.codec); give one that enlarges pictures"
    if len(ours.shape) != 3 or ours.levels != theirs.levels or ours.shape[-1] != theirs.shape[-1]:
        yield (
            f"sampling.upsampler {folder} enlarges pictures of {theirs.shape[-1]} channels and {theirs.levels} levels, "
            f"and the samples of this run are {ours.shape} with {ours.levels or 'no'} levels; they must be the same"
        )
    if theirs.shape[:2] != tuple(factor * side for side in ours.shape[:2]):
        height, width = theirs.shape[:2]
        yield (
            f"sampling.upsampler {folder} enlarges pictures of {height // factor}x{width // factor} pixels {factor} "
            f"times, and the samples of this run are {ours.shape[0]}x{ours.shape[1]}; they must be the same"
        )
    for name in ("height", "width"):
        if experiment.config.sampling[name]:
            yield (
                f"sampling.{name} is {experiment.config.sampling[name]}, and sampling.upsampler {folder} enlarges "
                "pictures as large as this run's; leave it 0"
            )
    if upsampler.num_classes not in (0, experiment.sampled_classes):
        yield (
            f"sampling.upsampler {folder} knows {upsampler.num_classes} classes, and this run "
            f"{experiment.sampled_classes}"
        )


def of_samplers(experiment: Experiment, methods: Collection[str]) -> Broken:
    """The rules of these samplers with the config's settings: what they ask for, the network must know."""
    config, settings, classes = experiment.config, experiment.settings, experiment.sampled_classes
    if settings.label >= 0 and settings.label >= classes:
        allowed = f"0 to {classes - 1}, or -1 for each in turn" if classes else "-1: the network takes no classes"
        yield f"sampling.label is {settings.label}; allowed is {allowed}"
    guided, guidance = settings.guidance_scale != 1.0, f"{settings.guidance} ({settings.guidance_convention})"
    if guided and not experiment.guide and not experiment.conditioner.fields:
        yield (
            f"sampling.guidance is {guidance}, and the network takes no classes to be guided by (model.label_dim is "
            "0), nor a text; leave it at 1, or give sampling.guide the folder of a classifier or of a weaker model"
        )
    if settings.negative_prompt and not guided:
        yield (
            f"sampling.negative_prompt is {settings.negative_prompt!r}, and without guidance nothing leads away from "
            "it; set sampling.guidance to more than 1, or leave it ''"
        )
    if guided and not experiment.guide and not config.training.label_dropout:
        yield (
            f"sampling.guidance is {guidance}, and training.label_dropout 0: the network has not learned the "
            "unconditional score; leave it at 1, or give sampling.guide a weaker model"
        )
    drawn_by = [dataclasses.replace(settings, method=method) for method in methods]
    jumping = sorted(chosen.method for chosen in drawn_by if chosen.method in samplers.MAPS)
    leaps = experiment.parameterization.told_end or experiment.is_consistency_model
    if (guided or experiment.guide) and jumping and leaps:
        yield (
            f"sampling.guidance is {guidance}, and {jumping[0]!r} jumps as the network was trained to: guidance moves "
            "the velocity of solvers alone; leave it at 1 and sampling.guide empty, or take a solver"
        )
    if not any(chosen.learned_variance for chosen in drawn_by):
        return
    variance = config.sampling.variance
    if config.model.preconditioning != "none":
        yield (
            f"sampling.variance is {variance!r} and model.preconditioning {config.model.preconditioning!r}, whose "
            "networks say nothing of a variance; use small or large"
        )
    if not experiment.predicts_variance:
        yield (
            f"sampling.variance is {variance!r}, and the network predicts none; use small or large, or a network with "
            "twice the channels (model.learned_variance=True)"
        )


def of_told(experiment: Experiment) -> Broken:
    """The rules of samples that a command draws: there is something that their network can be told."""
    config, options = experiment.config, options_of(experiment.config)
    if options.get("text_dim", 0) and not experiment.reader:
        yield (
            f"model.name {config.model.name!r} is told features of texts, and data.text_encoder is ''; name the folder "
            "of the text encoder that it was trained with"
        )
    if experiment.reader and not experiment.prompts and not len(experiment.source.test):
        yield (
            "sampling.prompt is '', and there is no test set whose captions could stand for it; say in words what the "
            "pictures are to show"
        )
    if made.needed(experiment.conditioner).parts and not len(experiment.source.test):
        yield (
            f"model.upsampling is {config.model.upsampling}, and there are no test images to make smaller and enlarge; "
            "draw with another run, and name this one as its sampling.upsampler"
        )
    if options.get("image_channels", 0):
        yield (
            f"model.image_channels is {options['image_channels']}: this network paints a part of a picture, which it "
            "must be told; --mode=edit gives it one"
        )


def of_images(config: ConfigDict, mode: str) -> Broken:
    """The rules of a mode that draws images or measures them."""
    if config.model.name in (*CLASSIFIERS, *MATCHERS):
        kind = "a classifier" if config.model.name in CLASSIFIERS else "a CLIP"
        yield (
            f"--mode={mode} is not for {kind}, and model.name is {config.model.name!r}; --mode=train and "
            "evaluate are, and sampling.guide=FOLDER lets it guide another run"
        )
    if mode in ("edit", "compare") and config.sampling.upsampler:
        yield (
            f"--mode={mode} is of a run's own samples, and sampling.upsampler is {config.sampling.upsampler!r}; leave "
            "it ''"
        )
    if config.model.name in AUTOENCODERS and mode in NO_SAMPLES:
        yield (
            f"--mode={mode} draws samples, and model.name is {config.model.name!r}, an autoencoder, which has none to "
            "draw; --mode=evaluate measures its reconstructions, and data.codec=FOLDER trains a model of its latents"
        )


NO_SAMPLES = ("sample", "edit", "compare", "reproduce")
"""Modes that draw samples, which an autoencoder alone does not."""


def of_training(experiment: Experiment) -> Broken:
    """The rules of a training."""
    config, source = experiment.config, experiment.source
    steps, told = config.training.n_jitted_steps, config.model.get("augment_dim", 0)
    if config.sampling.guide:
        yield "sampling.guide is for the samples of a trained run; leave it '' in training"
    if config.sampling.upsampler:
        yield "sampling.upsampler is for the samples of a trained run; leave it '' in training"
    frequencies = ("n_iters", "log_freq", "eval_freq", "snapshot_freq", "snapshot_freq_for_preemption")
    for name in (*frequencies, *(("ema_snapshot_freq",) if config.training.ema_stds else ())):
        if config.training[name] % steps:
            yield (
                f"training.{name} is {config.training[name]} and training.n_jitted_steps {steps}: it must be a "
                "multiple of the steps of one call"
            )
    if config.training.eval_freq and not len(source.test):
        yield (
            f"training.eval_freq is {config.training.eval_freq}, but the data set {source.name!r} has no test images; "
            "set it to 0, or give the data set some"
        )
    options = options_of(config)
    if options.get("tokens", 0) and not experiment.reader:
        yield (
            f"model.name {config.model.name!r} reads texts, and data.tokenizer is ''; name what makes tokens of the "
            "captions: words, or the folder of a table (clip:FOLDER, openai:FOLDER, glide:FOLDER)"
        )
    if options.get("text_dim", 0) and not experiment.reader:
        yield (
            f"model.name {config.model.name!r} is told features of texts, and data.text_encoder is ''; name the folder "
            "of what makes features of the captions, with text_encoder/ and tokenizer/"
        )
    if options.get("image_channels", 0):
        yield (
            f"model.image_channels is {options['image_channels']}, of an image beside x that no data set has; such "
            "networks are imported, and not trained: set it to 0"
        )
    if config.data.augment and told != LABELS:
        yield (
            f"data.augment is {config.data.augment} and model.augment_dim {told}: a network that is not told of the "
            f"augmentation learns the augmented images; set augment_dim to {LABELS} (edm_unet, adm), or augment to 0"
        )


def of_loss(experiment: Experiment, loss: Any) -> Broken:
    """The rules of a training's loss (`training.losses.base.Loss`): network and data must be what it trains."""
    model, training, data = experiment.config.model, experiment.config.training, experiment.config.data
    name = f"training.loss is {training.loss!r}"
    if loss.needs_teacher and not training.teacher:
        yield f"{name}, which learns from a teacher; give training.teacher the folder of a run"
    if training.teacher and not (loss.takes_teacher or loss.needs_pairs):
        yield f"{name} and training.teacher {training.teacher!r}; that loss learns from data alone: leave it ''"
    if loss.preconditioning not in (None, model.preconditioning):
        yield f"{name} and model.preconditioning {model.preconditioning!r}; set it to {loss.preconditioning!r}"
    if loss.needs_pairs and not training.teacher:
        yield (
            f"training.coupling is {training.coupling!r}, of noise and data that a trained run's flow joins; give "
            "training.teacher the folder of that run"
        )
    if loss.needs_pairs and (data.random_flip or data.augment):
        yield (
            f"training.coupling is {training.coupling!r}, data.random_flip {data.random_flip} and data.augment "
            f"{data.augment}; pairs of a flow have their data as they are: set those to False and 0"
        )
    if loss.trains_jumps and not experiment.parameterization.told_end:
        yield f"{name}, whose network is told where a jump ends; set model.told_end to True"
    if loss.prediction not in (None, model.prediction):
        yield f"{name} and model.prediction {model.prediction!r}; that loss trains {loss.prediction!r}: set it to that"
    if loss.guides and not (experiment.conditioner.fields and training.label_dropout):
        yield (
            f"{name} with guidance (training.guidance_omega, guidance_kappa), model.label_dim {experiment.num_classes} "
            f"and training.label_dropout {training.label_dropout}: what guides is a class that is sometimes not told; "
            "set both, or guidance_omega to 1 and guidance_kappa to 0"
        )
    if loss.needs_grey_levels and experiment.config.data.uniform_dequantization:
        yield f"{name}, which decodes whole levels; set data.uniform_dequantization to False"
    if loss.needs_variance and model.preconditioning != "none":
        yield (
            f"{name} and model.preconditioning {model.preconditioning!r}; a learned variance is for networks without "
            "it; set it to 'none'"
        )
    if loss.needs_variance and not experiment.predicts_variance:
        yield (
            f"{name} with training.variance {training.variance!r}, and the network {model.name!r} predicts no "
            "variance; take guided_unet with learned_variance=True"
        )
    if experiment.classifies != loss.needs_classifier:
        yield (
            f"{name} and model.name {model.name!r}; classifiers ({', '.join(CLASSIFIERS)}) have a loss of their own, "
            "cross_entropy, and no other network has it"
        )
    if experiment.matches != loss.needs_matcher:
        yield (
            f"{name} and model.name {model.name!r}; networks of images and texts ({', '.join(MATCHERS)}) have a loss "
            "of their own, contrastive, and no other network has it"
        )
    elif experiment.matches:
        yield from _of_noise_told(experiment)
    if loss.compares and (training.accumulate > 1 or training.batch_size < 2):
        yield (
            f"{name}, which compares the examples of a batch with each other, with training.accumulate "
            f"{training.accumulate} and training.batch_size {training.batch_size}; set accumulate to 1, and batch_size "
            "to 2 or more (published: 32768)"
        )
    if experiment.compresses != loss.needs_autoencoder:
        yield (
            f"{name} and model.name {model.name!r}; autoencoders ({', '.join(AUTOENCODERS)}) have a loss of their own, "
            "autoencoder, and no other network has it"
        )
    elif experiment.compresses:
        yield from _of_autoencoder_loss(experiment, loss)


def _of_noise_told(clip: Experiment) -> Broken:
    """The rules of a CLIP of noisy images: of every noise there is it is told, by a number that it has tokens for."""
    model, sde = clip.config.model, clip.sde
    count = model.get("num_scales", 0)
    if count < 2:
        yield (
            f"model.num_scales is {count}, and a CLIP of noisy images is told the noise by a token of each of so many "
            "levels; set it to 2 or more (published: 1000)"
        )
    process = sde_lib.NoiseLevels(sde, clip.num_scales) if clip.num_scales else sde
    ends = np.asarray(sde_lib.noise_label_fn(process, model.noise_label)(jnp.asarray([sde.t_min, 1.0])))
    if np.abs(np.sort(ends) - (0, count - 1)).max() > 0.01 * count:
        yield (
            f"model.noise_label {model.noise_label!r} goes from {ends[0]:.3g} to {ends[1]:.3g}, and {model.name} has "
            f"tokens for 0 to {count - 1} (model.num_scales {count}); take 't999' with 1000 of them, 't' with 2, or "
            "'index' with training.continuous=False"
        )


def _of_autoencoder_loss(experiment: Experiment, loss: Any) -> Broken:
    """The rules of an autoencoder and its loss (`training.losses.autoencoder.AutoencoderLoss`)."""
    training, source = experiment.config.training, experiment.source
    if len(source.shape) != 3 or source.levels is None:
        yield f"training.loss is 'autoencoder', which is for images; the examples of {source.name!r} are {source.shape}"
    if loss.learn_logvar and issubclass(MODELS[experiment.network.name], AutoencoderVQ):
        yield (
            f"training.learn_logvar is True, and model.name {experiment.network.name!r} has a codebook, in whose loss "
            "there is no log-variance; set it to False"
        )
    if loss.adversarial and training.accumulate > 1:
        yield (
            f"training.accumulate is {training.accumulate} and training.disc_factor {training.disc_factor}: the "
            "discriminator's batch norm and its adaptive weight are of a whole batch; set accumulate to 1, or "
            "disc_factor to 0, which is without a discriminator"
        )
    if loss.perceives and min(source.shape[:2]) < LEAST_SIDE:
        yield (
            f"training.perceptual is {training.perceptual!r}, which takes images of {LEAST_SIDE} pixels a side or "
            f"more, and those of {source.name!r} are {source.shape}; set it to 'none'"
        )
    if loss.perceives and not experiment.config.eval.vgg16:
        yield (
            f"training.perceptual is {training.perceptual!r}, and eval.vgg16 is empty; give eval.vgg16 and "
            "eval.lpips_heads the files of its weights, or set it to 'none'"
        )


def of_beginning(experiment: Experiment, loss: Any) -> Broken:
    """The rules of a training that has no checkpoint yet: a loss that tunes a network must be given one."""
    training = experiment.config.training
    if loss.tunes and not training.begin_with:
        yield (
            f"training.loss is {training.loss!r}, which tunes a trained network; give training.begin_with the folder "
            "of its run"
        )


def of_snapshot_fid(experiment: Experiment) -> Broken:
    """The rules of a training that measures the FID of its checkpoints."""
    config, processes = experiment.config, jax.process_count()
    what = f"training.snapshot_fid_samples is {config.training.snapshot_fid_samples}"
    if config.training.snapshot_fid_samples < 2:
        yield f"{what}; a FID is of 2 samples or more (published: 50000), and 0 measures none"
    if not experiment.denoises:
        yield f"{what}, and model.name is {config.model.name!r}, which draws no samples; set it to 0"
    if processes > 1:
        yield f"{what}, and {processes} processes train together; only one alone can, so set it 0"
    for field in ("inception", "reference_stats"):
        if not config.eval[field]:
            yield f"{what}, and eval.{field} is empty; a FID needs it, or set the samples to 0"


def of_evaluation(experiment: Experiment) -> Broken:
    """The rules of an evaluation."""
    config = experiment.config.eval
    if config.enable_sampling and not config.samplers:
        yield (
            "eval.samplers is (), and eval.enable_sampling True; name at least one sampler, or set the latter to False"
        )
    for name in ("height", "width"):
        if experiment.config.sampling[name]:
            yield (
                f"sampling.{name} is {experiment.config.sampling[name]}, which is for --mode=sample; an evaluation "
                "draws pictures as large as its data: leave it 0"
            )
    if experiment.upsampler and (config.enable_bpd or config.enable_vlb or config.measures):
        yield (
            f"sampling.upsampler is {experiment.config.sampling.upsampler!r}, and what enlarges samples has no part in "
            "likelihoods and other measures of the test set; set eval.enable_bpd and eval.enable_vlb to False and "
            "eval.measures to (), or evaluate each run alone"
        )
    if start := experiment.config.sampling.start:
        yield f"sampling.start is {start!r}, which is for --mode=sample; an evaluation draws its own: leave it ''"


def published_samplers(experiment: Experiment) -> dict[str, str]:
    """The published numbers of a config that are of samples, by their fields, and the sampler that gives each."""
    method, published = experiment.settings.method, experiment.config.published
    methods = {"fid": method, "inception_score": method, "fid_ode": "ode"}
    return {field: methods[field] for field in methods if published.get(field) is not None}


def of_reproduction(experiment: Experiment) -> Broken:
    """The rules of a reproduction: there are published numbers, and the evaluation measures them as they were."""
    config, measured = experiment.config.eval, published_samplers(experiment)
    published, sampling = experiment.config.published, experiment.config.sampling
    asked = [*measured, *(name for name in ("bits_per_dim",) if published.get(name) is not None)]
    if not asked:
        yield (
            "this config has no published numbers to reproduce; those of configs/ve, vp and subvp whose docstrings "
            "name results have, and --mode=evaluate evaluates any"
        )
    scale = published.get("classifier_scale")
    if scale and not (sampling.guide and sampling.guidance == scale):
        yield (
            f"this config's numbers were reached with a classifier's guidance of scale {scale}; give sampling.guide "
            f"the folder of one and set sampling.guidance to {scale}, or use --mode=evaluate"
        )
    if config.end_step:
        yield f"eval.end_step is {config.end_step}; a reproduction is of one checkpoint"
    measured = measured if config.enable_sampling else {}
    absent = ", ".join(sorted(set(measured.values()) - set(config.samplers)))
    if absent:
        yield f"eval.samplers is {tuple(config.samplers)}; {', '.join(measured)} need {absent} as well"
    if not measured and not (config.enable_bpd and "bits_per_dim" in asked):
        yield (
            f"eval.enable_sampling is {config.enable_sampling} and eval.enable_bpd {config.enable_bpd}: none of "
            f"{', '.join(asked)} would be measured"
        )
    if measured and not config.inception:
        yield (
            f"eval.inception is empty; {', '.join(measured)} need the Inception weights "
            "(pt_inception-2015-12-05-6726825d.pth); or set eval.enable_sampling=False"
        )
