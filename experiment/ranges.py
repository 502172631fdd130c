"""What every field of a config may be: one table, checked before data are read and before anything compiles.

The options of a process, a network, a data set and a sampler are their constructors' own, which check them wherever
they are called from. Names that a table of another room defines are repeated here, so that a config is checked as a
whole in every mode; a test compares the two.
"""

import dataclasses

from ml_collections import ConfigDict

import samplers
import sde_lib
from autoencoders import CODECS
from experiment.power_averages import WIDTH
from inverse import METHODS
from inverse.ranges import RANGES as OF_INVERSE
from limits import (
    SEED,
    Flag,
    Maybe,
    Number,
    OneOf,
    Range,
    Several,
    Size,
    Text,
    check,
    not_negative,
    positive,
    share,
    whole,
)
from models import MODELS
from models.checks import NUMBERS, check_options
from samplers import settings
from samplers.ode import PROBES, TOLERANCE
from sde_lib.base import T_MIN
from sde_lib.variational import DECODERS

_FREQUENCY = whole(1, note="in steps")
_EXAMPLES = whole(0, note="0: the whole test set")

TRACKERS = ("jsonl", "tensorboard", "wandb", "mlflow")
"""The trackers of `training.trackers`."""

_EMA_STD = dataclasses.replace(WIDTH, above=False, note="0: the average of model.ema_rate or its half-life")

FIELDS: dict[str, Range] = {
    "seed": SEED,
    "sde.name": OneOf(tuple(sde_lib.PROCESSES)),
    "sde.t_min": T_MIN,
    "model.name": Text(),
    "model.prediction": OneOf(tuple(sde_lib.PREDICTIONS)),
    "model.noise_label": OneOf((*sde_lib.NOISE_LABELS, *sde_lib.LEVEL_LABELS)),
    "model.reading": OneOf(sde_lib.READINGS),
    "model.preconditioning": OneOf(("none", *sde_lib.PRECONDITIONINGS)),
    "model.num_scales": whole(0, int(NUMBERS["num_scales"].high), note=NUMBERS["num_scales"].note),
    "model.ema_rate": share(below=True, note="published: 0.9999"),
    "model.ema_warmup": Flag(),
    "model.ema_halflife_images": not_negative(note="published: 500000; 0: by the rate"),
    "model.ema_rampup": not_negative(note="published: 0.05; 0 is without"),
    "data.dataset": Text(),
    "data.image_size": Size(whole(1, int(NUMBERS["image_size"].high))),
    "data.num_channels": whole(1, int(NUMBERS["num_channels"].high)),
    "data.tokenizer": Text(),
    "data.text_encoder": Text(),
    "data.clip_skip": whole(0, 1000, note="layers; published: 0, of some models 1"),
    "data.codec": Text(f"it must be {' or '.join(CODECS)}, or the folder of an autoencoder's run"),
    "data.codec_checkpoint": whole(-1, note="a step, or -1 for the newest"),
    "data.latent_scale": Maybe(positive(note="published: 0.18215")),
    "data.latent_shift": Maybe(Number(note="published: 0")),
    "data.latent_cache": Text(),
    "data.latent_tile": whole(0, 4096, note="published: 64; 0: all at once"),
    "data.centered": Flag(),
    "data.uniform_dequantization": Flag(),
    "data.random_flip": Flag(),
    "data.augment": share(note="a probability; published: 0.12; 0 is without"),
    "data.changed": OneOf(("refuse", "accept")),
    "training.batch_size": whole(1),
    "training.n_iters": whole(1),
    "training.n_jitted_steps": whole(1, 100_000),
    "training.accumulate": whole(1, 100_000, note="1: the whole batch at once"),
    "training.parallelism": OneOf(("pmap", "fsdp")),
    "training.remat": Flag(),
    "training.continuous": Flag(),
    "training.time_sampling": OneOf(("uniform", "log_snr", "lognormal", "logit_normal", "loss_aware")),
    "training.P_mean": Number(-80.0, 80.0, note="published: -1.2"),
    "training.P_std": positive(note="published: 1.2"),
    "training.logit_mean": Number(-80.0, 80.0, note="published: 0"),
    "training.logit_std": positive(note="published: 1"),
    "training.time_shift": positive(note="1 leaves the times; published: 3 for pictures of 1024 pixels"),
    "training.coupling": OneOf(("independent", "optimal_transport", "reflow")),
    "training.coupling_size": whole(2, 1024, note="examples that are coupled with each other's noise"),
    "training.tangent_warmup": whole(0, note="in steps; published: 10000; 0: without"),
    "training.tangent_c": positive(note="published: 0.1"),
    "training.distilled_steps": whole(1, 4096, note="of the student; published: half of its teacher's"),
    "training.reflow_pairs": whole(1, note="published: 100000 and more"),
    "training.reflow_sampler": OneOf(samplers.DETERMINISTIC),
    "training.reflow_evaluations": whole(1, 100_000, note="an adaptive solver takes what it needs"),
    "training.same_time": share(note="of the examples; published: 0.75"),
    "training.norm_power": not_negative(note="published: 1; 0 is without"),
    "training.norm_eps": positive(note="published: 0.01"),
    "training.guidance_omega": Number(note="published: 1; with guidance_kappa 0 that is without guidance"),
    "training.guidance_kappa": share(below=True, note="published: 0.5"),
    "training.guidance_start": share(note="a time; published: 0"),
    "training.guidance_end": share(note="a time; published: 1"),
    "training.weight": OneOf(("uniform", "snr", "snr_plus_1", "truncated_snr", "min_snr", "p2", "edm", "likelihood")),
    "training.min_snr_gamma": positive(note="published: 5"),
    "training.p2_k": not_negative(note="published: 1"),
    "training.p2_gamma": not_negative(note="published: 1"),
    "training.sigma_data": positive(note="published: 0.5"),
    "training.loss": Text("it must be the name of a loss"),
    "training.total_steps": whole(0, note="0: training.n_iters"),
    "training.scale_mode": OneOf(("progressive", "fixed")),
    "training.start_scales": whole(2, 100_000, note="published: 2 and 10; fixed: 18 and 40"),
    "training.end_scales": whole(2, 100_000, note="published: 150, 200 and 1280"),
    "training.target_ema_mode": OneOf(("adaptive", "fixed")),
    "training.start_ema": share(below=True, note="published: 0.9 and 0.95; 0: the network itself"),
    "training.karras_power": positive(note="published: 7"),
    "training.loss_norm": OneOf(("l1", "l2", "l2_32", "linf", "lpips")),
    "training.consistency_weight": OneOf(("uniform", "snr", "snr_plus_1", "truncated_snr", "karras")),
    "training.huber_c": not_negative(note="published: 0.00054; 0: the norm itself"),
    "training.ect_q": whole(2, 1_000_000, note="published: 2, or 256 without stages"),
    "training.ect_k": not_negative(note="published: 8; 0 is without"),
    "training.ect_b": not_negative(note="published: 1"),
    "training.doubling_steps": whole(0, note="0: one stage"),
    "training.teacher": Text(),
    "training.teacher_checkpoint": whole(-1, note="a step, or -1 for the newest"),
    "training.begin_with": Text(),
    "training.variance": OneOf(sde_lib.VARIANCES),
    "training.vlb_weight": not_negative(note="published: 0.001"),
    "training.cross_entropy_weight": not_negative(note="published: 0.001"),
    "training.log_eps": share(below=True, note="published: 1e-6; 0 is exact"),
    "training.bound_steps": whole(0, note="0 is continuous time"),
    "training.loss_history": whole(1, 100_000, note="published: 10"),
    "training.uniform_probability": share(above=True, note="published: 0.001"),
    "training.likelihood_weighting": Flag(),
    "training.importance_sampling": Flag(),
    "training.reduce_mean": Flag(),
    "training.stratified": Flag(),
    "training.pixel_loss": OneOf(("l1", "l2")),
    "training.perceptual": OneOf(("none", "lpips")),
    "training.perceptual_weight": not_negative(note="published: 1"),
    "training.logvar_init": Number(-30.0, 30.0, note="published: 0"),
    "training.learn_logvar": Flag(),
    "training.kl_weight": not_negative(note="published: 0.000001"),
    "training.codebook_weight": not_negative(note="published: 1"),
    "training.codebook_beta": not_negative(note="published: 0.25"),
    "training.codebook_legacy": Flag(),
    "training.disc_loss": OneOf(("hinge", "vanilla")),
    "training.disc_norm": OneOf(("batch", "act")),
    "training.disc_layers": whole(1, 16, note="published: 3"),
    "training.disc_channels": whole(1, int(NUMBERS["nf"].high), note="published: 64"),
    "training.disc_start": whole(0, note="in batches; published: 50001"),
    "training.disc_weight": not_negative(note="published: 0.5"),
    "training.disc_factor": not_negative(note="published: 1; 0: there is no discriminator"),
    "training.label_dropout": share(note="a probability; published: 0.1"),
    "training.nan_to_num": Flag(),
    "training.log_freq": _FREQUENCY,
    "training.eval_freq": whole(0, note="in steps; 0: never"),
    "training.snapshot_freq": _FREQUENCY,
    "training.snapshot_freq_for_preemption": _FREQUENCY,
    "training.ema_stds": Several(WIDTH, distinct=True),
    "training.ema_snapshot_freq": _FREQUENCY,
    "training.keep_checkpoints": whole(1, note="the rolling ones"),
    "training.snapshot_sampling": Flag(),
    "training.snapshot_fid_samples": whole(0, note="0: no FID while training"),
    "training.trackers": Several(OneOf(TRACKERS), distinct=True),
    "optim.optimizer": OneOf(("Adam", "AdamW", "RAdam", "Muon")),
    "optim.lr": positive(note="published: 2e-4"),
    "optim.beta1": share(below=True, note="published: 0.9"),
    "optim.beta2": share(below=True, note="published: 0.999"),
    "optim.eps": positive(note="published: 1e-8"),
    "optim.weight_decay": not_negative(note="0 is without"),
    "optim.warmup": whole(0, note="in steps"),
    "optim.warmup_images": not_negative(note="0: optim.warmup steps"),
    "optim.grad_clip": Number(note="0 and below is without"),
    "optim.decay_steps": whole(0, note="0: the rate does not fall"),
    "optim.inverse_sqrt_steps": whole(0, note="published: 70000; 0: the rate does not fall"),
    **{f"sampling.{name}": allowed for name, allowed in settings.RANGES.items()},
    "sampling.scheduler": settings.SCHEDULER,
    "sampling.start": Text(),
    "sampling.keep_latents": Flag(),
    "sampling.count": whole(1, 1_000_000),
    **dict.fromkeys(("sampling.height", "sampling.width"), whole(0, 100_000, note="pixels; 0: as the run's")),
    "sampling.upsampler": Text(),
    "sampling.upsampler_checkpoint": whole(-1, note="a step, or -1 for the newest"),
    "eval.batch_size": whole(1),
    "eval.seed": SEED,
    "eval.seeds": whole(1, 1_000_000),
    "eval.ema": Flag(),
    "eval.ema_std": _EMA_STD,
    "eval.checkpoint": whole(-1, note="a step, or -1 for the newest"),
    "eval.begin_step": whole(0),
    "eval.end_step": whole(0, note="0: no range of steps"),
    "eval.wait_minutes": whole(0, 1_000_000, note="for each checkpoint that is still to come"),
    "eval.num_samples": whole(2),
    "eval.samplers": Several(OneOf(settings.KNOWN), distinct=True),
    "eval.enable_bpd": Flag(),
    "eval.enable_sampling": Flag(),
    "eval.bpd_probe": OneOf(PROBES),
    "eval.bpd_probes": whole(1),
    "eval.bpd_slots": whole(0, note="0: all of a batch at once"),
    "eval.bpd_repeats": whole(1),
    "eval.bpd_max_examples": _EXAMPLES,
    "eval.bpd_dequantization": OneOf(("uniform", "process")),
    "eval.enable_vlb": Flag(),
    "eval.vlb_times": whole(1),
    "eval.vlb_max_examples": _EXAMPLES,
    "eval.vlb_clip": Flag(),
    "eval.vlb_decoder": OneOf(DECODERS),
    "eval.measures": Several(Text(), distinct=True),
    "eval.accuracy_levels": whole(2, note="the two ends among them"),
    "eval.rtol": TOLERANCE,
    "eval.atol": TOLERANCE,
    "eval.judge": Text(),
    "eval.frechet_size": whole(0, 64, note="pixels a side; 0: images as they are"),
    "eval.inception": Text(),
    "eval.inception_sha256": Text(),
    "eval.inception_resize": OneOf(("pytorch", "tf1")),
    "eval.inception_batch_size": whole(1),
    "eval.reference_stats": Text(),
    "eval.vgg16": Text(),
    "eval.lpips_heads": Text(),
    "eval.stats_split": OneOf(("train", "test")),
    "eval.stats_features": whole(4),
    "eval.compare_ema_stds": Several(_EMA_STD, distinct=True),
    "eval.compare_runs": Several(Text(), distinct=True),
    "eval.compare": Several(Text(), distinct=True),
    "eval.compare_evaluations": Several(whole(1), distinct=True),
    "eval.compare_maps": Several(Text(), distinct=True),
    "eval.compare_maps_evaluations": Several(whole(1), distinct=True),
    "eval.compare_reference": Text(),
    "eval.compare_reference_evaluations": whole(1),
    "edit.task": OneOf(("inpaint", "colorize", "super_resolve", "vary", "interpolate")),
    "edit.image": Text(),
    "edit.other": Text(),
    "edit.images": whole(1),
    "edit.count": whole(1, 10_000, note="results that are drawn at once"),
    "edit.mask": Text(),
    "edit.paste": Maybe(Flag()),
    "edit.factor": OF_INVERSE["factor"],
    "edit.strength": OF_INVERSE["strength"],
    "edit.inpaint_strength": OF_INVERSE["strength"],
    "edit.method": OneOf(("auto", *METHODS)),
    "edit.noise": OF_INVERSE["noise"],
    "edit.iterations": OF_INVERSE["iterations"],
    "edit.data_std": OF_INVERSE["data_std"],
    "edit.zeta": OF_INVERSE["zeta"],
    "edit.resamplings": OF_INVERSE["resamplings"],
    "edit.jump": OF_INVERSE["jump"],
    "sweep.axes": Several(Text("it must be a text such as 'optim.lr=1e-3,3e-3'")),
    "sweep.modes": Several(OneOf(("train", "evaluate")), least=1, distinct=True),
}


def of_section(section: str) -> dict[str, Range]:
    """What each field of one section may be, by the field's own name."""
    return {name.removeprefix(f"{section}."): FIELDS[name] for name in FIELDS if name.startswith(f"{section}.")}


def check_config(config: ConfigDict) -> None:
    """Check every field of a config, whichever mode it is for.

    Raises:
      ValueError: a field that is outside its range, by its name, with what it is and what is allowed.
    """
    check("", {"seed": config.seed}, FIELDS)
    for section in ("sde", "model", "data", "training", "optim", "sampling", "eval", "edit", "sweep"):
        check(f"{section}.", config[section], of_section(section))
    if config.model.name in MODELS:
        check_options(MODELS[config.model.name], config.model)
