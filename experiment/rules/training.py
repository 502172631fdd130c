"""The rules of a training, its loss and its beginning."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sde_lib
from data.geometry import LABELS
from experiment import texts
from experiment.experiment import Experiment, options_of
from experiment.rules.base import Broken
from experiment.rules.config import LOSSES_OF_AUTOENCODERS
from experiment.showing import MODALITIES
from models import CLASSIFIERS, GENERATORS, MATCHERS, MODELS
from models.autoencoder import AutoencoderVQ
from models.vgg16 import LEAST_SIDE


def of_training(experiment: Experiment) -> Broken:
    """The rules of a training."""
    config, source = experiment.config, experiment.source
    steps, told = config.training.n_jitted_steps, config.model.get("augment_dim", 0)
    if config.sampling.guide:
        yield "sampling.guide is for the samples of a trained run; leave it '' in training"
    if config.sampling.upsampler:
        yield "sampling.upsampler is for the samples of a trained run; leave it '' in training"
    if config.sweep.axes:
        yield f"sweep.axes is {config.sweep.axes}, of which --mode=sweep makes runs; take that mode, or leave it ()"
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
    if experiment.reader and not texts.captioned(source.train):
        yield (
            f"model.name {config.model.name!r} is told texts, and the data set {source.name!r} has no captions; of a "
            "folder set data.captions to True, with a .txt file beside each picture"
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
    if loss.of_categories != experiment.of_categories:
        kind = "of categories" if experiment.of_categories else "of no categories"
        yield (
            f"{name}, and model.name {model.name!r} is {kind}; for these are 'categorical', 'score_entropy' and "
            "'discrete_flow', and for others none of them"
        )
    if experiment.source.padded and not (loss.leaves_out and training.coupling == "independent"):
        yield (
            f"{name} with training.coupling {training.coupling!r}, and points of sets may be absent (data.varying): "
            "take 'simple', or 'flow_matching' with coupling 'independent'"
        )
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
        yield from of_noise_told(experiment)
    if loss.compares and (training.accumulate > 1 or training.batch_size < 2):
        yield (
            f"{name}, which compares the examples of a batch with each other, with training.accumulate "
            f"{training.accumulate} and training.batch_size {training.batch_size}; set accumulate to 1, and batch_size "
            "to 2 or more (published: 32768)"
        )
    if (experiment.compresses, model.name in GENERATORS) != (loss.needs_autoencoder, loss.needs_likelihood):
        yield f"{name} and model.name {model.name!r}; {LOSSES_OF_AUTOENCODERS}"
    elif experiment.compresses:
        yield from (_of_pictures if loss.needs_likelihood else _of_autoencoder_loss)(experiment, loss)
    if loss.trains_generator:
        yield from _of_adversarial_loss(experiment)


def of_noise_told(clip: Experiment) -> Broken:
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


def _of_pictures(experiment: Experiment, loss: Any) -> Broken:
    """The rule of a loss that is for images of grey levels."""
    training, source = experiment.config.training, experiment.source
    if not MODALITIES[source.modality].is_picture or source.levels is None:
        yield (
            f"training.loss is {training.loss!r}, which is for images; the examples of {source.name!r} are "
            f"{source.shape}"
        )


def _of_adversarial_loss(experiment: Experiment) -> Broken:
    """The rules of a generator and its loss (`training.losses.adversarial.Adversarial`)."""
    training, model, source = experiment.config.training, experiment.config.model, experiment.source
    yield from _of_pictures(experiment, None)
    if training.eval_freq:
        yield (
            f"training.eval_freq is {training.eval_freq}, and training.loss 'adversarial' has no loss on the test set, "
            "as it depends on the discriminator; set it to 0"
        )
    if experiment.conditioner.fields:
        yield (
            f"training.loss is 'adversarial', whose discriminator is told nothing, and model.name {model.name!r} is "
            f"told {', '.join(experiment.conditioner.fields)} of each example; leave that out (model.label_dim=0)"
        )
    network, shape = experiment.network, experiment.codec.shape
    z, label = (jax.ShapeDtypeStruct((1, *each), np.float32) for each in (shape, ()))
    found = jax.eval_shape(network.apply, network.abstract(), z, label).shape
    if not experiment.compresses and found != z.shape:
        yield (
            f"training.loss is 'adversarial', and of noise of shape {shape} model.name {model.name!r} makes "
            f"{found[1:]}, and no example of {source.name!r}; take a network that predicts no variance"
        )


def _of_autoencoder_loss(experiment: Experiment, loss: Any) -> Broken:
    """The rules of an autoencoder and its loss (`training.losses.autoencoder.AutoencoderLoss`)."""
    training, source = experiment.config.training, experiment.source
    yield from _of_pictures(experiment, loss)
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
    if not experiment.draws:
        yield f"{what}, and model.name is {config.model.name!r}, which draws no samples; set it to 0"
    if processes > 1:
        yield f"{what}, and {processes} processes train together; only one alone can, so set it 0"
    for field in ("inception", "reference_stats"):
        if not config.eval[field]:
            yield f"{what}, and eval.{field} is empty; a FID needs it, or set the samples to 0"
