"""The rules of samples: what samplers ask for, and what guides or enlarges them."""

import dataclasses
from collections.abc import Collection

import samplers
from autoencoders import Latents, of_one_space
from experiment import made, texts
from experiment.experiment import Experiment, options_of
from experiment.rules.base import Broken
from experiment.rules.training import of_noise_told
from experiment.showing import MODALITIES


def of_guide(experiment: Experiment, guide: Experiment) -> Broken:
    """The rules of an experiment and the run that guides its samples."""
    folder, settings = repr(experiment.settings.guide), experiment.settings
    if guide.generates and not guide.compresses:
        yield f"sampling.guide {folder} is a generator (training.loss {guide.config.training.loss!r}), without a score"
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
    lacking = [name for part in guide.conditioner.parts if part.needed for name in part.fields]
    lacking = [name for name in lacking if name not in experiment.conditioner.fields]
    if guide.denoises and lacking:
        yield (
            f"sampling.guide {folder} must be told {lacking[0]!r} of each example, which this network is not told; "
            "give a weaker model that is told no more"
        )
    if guide.denoises and guide.reader and experiment.reader and not experiment.reads_as(guide):
        yield (
            f"sampling.guide {folder} reads texts otherwise than this run; a weaker model must have the same tokenizer "
            "or text encoder, and as many tokens of a text"
        )
    size = experiment.config.sampling.height, experiment.config.sampling.width
    if guide.matches and any(size):
        yield (
            f"sampling.height is {size[0]} and sampling.width {size[1]}, and sampling.guide {folder} is a CLIP of "
            "pictures of one size; leave both at 0"
        )
    if guide.matches:
        yield from (f"sampling.guide {folder}: {message}" for message in of_noise_told(guide))
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
    if not MODALITIES[ours.modality].is_picture or ours.levels != theirs.levels or ours.shape[-1] != theirs.shape[-1]:
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
    if experiment.source.padded and any(each.corrected and each.corrector == "langevin" for each in drawn_by):
        yield (
            "sampling.corrector is 'langevin', whose steps are as long as all numbers of an example ask, and points of "
            "sets may be absent (data.varying); take 'ald' or 'none'"
        )
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
    for name in ("height", "width"):
        if experiment.generates and config.sampling[name]:
            yield (
                f"sampling.{name} is {config.sampling[name]}, and model.name {config.model.name!r} is a generator of "
                "pictures of one size; leave it 0"
            )
    if options.get("text_dim", 0) and not experiment.reader:
        yield (
            f"model.name {config.model.name!r} is told features of texts, and data.text_encoder is ''; name the folder "
            "of the text encoder that it was trained with"
        )
    if experiment.readers and not experiment.prompts and not texts.captioned(experiment.source.test):
        yield (
            "sampling.prompt is '', and there is no test set whose captions could stand for it; say in words what the "
            "pictures are to show, or name one with captions (of a folder data.captions=True)"
        )
    if experiment.source.padded and not len(experiment.source.train):
        yield (
            f"samples have as many points as the training sets of {experiment.source.name!r} have (data.varying), and "
            "their files are not there; give data.path their folder"
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


def of_prompts(experiment: Experiment) -> Broken:
    """The rules of prompts: whatever is to read them can, the network, its guide, and what enlarges the samples.

    Of one that is too long a warning says what is cut off. They become tokens here, and no text encoder reads them.
    """
    readers, further = list(experiment.readers.values()), experiment.upsampler
    while further:
        readers += further.readers.values()
        further = further.upsampler
    own = [experiment.reader] if experiment.reader else []
    asked = ("prompt", experiment.prompts, readers), ("negative_prompt", experiment.negative, own)
    for field, said, every in asked:
        for reader in every if said else ():
            try:
                reader.check(said)
            except ValueError as error:
                yield f"sampling.{field}: {error}"


def of_snapshots(experiment: Experiment) -> Broken:
    """The rules of the samples that a training draws of its checkpoints."""
    if experiment.config.training.snapshot_sampling and experiment.draws:
        yield from (f"{message}; or set training.snapshot_sampling to False" for message in of_told(experiment))
