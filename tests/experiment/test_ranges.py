"""Every number of a config, and of the constructors behind it, is refused in one line where it makes no sense."""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from ml_collections import ConfigDict

import data
import editing.tasks
import evaluation.run
import inverse
import main
import samplers
import sde_lib
from configs import default
from configs.vp import toy_mixture8_mlp
from experiment import Refusal, build
from experiment.ranges import FIELDS, check_config
from experiment.rules import of_config
from experiment.workdir import flatten
from limits import MOST, Maybe, Number, OneOf, Several, declared, of_options, whole
from metrics import inception
from models import DISCRIMINATORS, MODELS, TEXT_ENCODERS
from models.checks import ranges_of
from samplers.settings import RANGES
from training import losses, optimizer
from training.devices import DEVICES
from training.losses.adversarial import GAN_LOSSES
from training.losses.consistency import NORMS, WEIGHTS
from training.times import TIMES
from training.weighting import WEIGHTINGS

HUGE = (10**30, 1e30, 2**63)
NEVER = (math.nan, -math.inf, "abc", True, None, *HUGE)
"""What no number of a config may be."""
ALLOWED = {
    "negative": {
        "data.codec_checkpoint": "-1 is the newest",
        "training.P_mean": "it is the mean of a logarithm",
        "training.logit_mean": "it is the mean of a logarithm",
        "training.teacher_checkpoint": "-1 is the newest",
        "training.guidance_omega": "the guided field turns away from the data's",
        "training.logvar_init": "it is a logarithm",
        "optim.grad_clip": "0 and below clips nothing, as in the published code",
        "sampling.guidance": "a scale below 0 turns away from the condition",
        "sampling.label": "-1 is each class in turn",
        "sampling.guide_checkpoint": "-1 is the newest",
        "sampling.upsampler_checkpoint": "-1 is the newest",
        "eval.checkpoint": "-1 is the newest",
    },
    "zero": {
        "seed": "it is the first seed",
        "model.ema_rate": "the average is then the newest weights",
        "model.ema_halflife_images": "the average goes by its rate",
        "model.ema_rampup": "the half-life is constant",
        "data.augment": "no image is augmented",
        "data.codec_checkpoint": "it is the checkpoint of step 0",
        "data.latent_tile": "the whole is decoded at once",
        "data.clip_skip": "the layer is the published one",
        "training.P_mean": "it is the mean of a logarithm",
        "training.logit_mean": "it is the mean of a logarithm",
        "training.teacher_checkpoint": "it is the checkpoint of step 0",
        "training.same_time": "every example jumps",
        "training.norm_power": "the weight is uniform",
        "training.guidance_omega": "the guided field is the network's own",
        "training.guidance_kappa": "the network's own conditional field is left out",
        "training.guidance_start": "guidance acts down to data",
        "training.guidance_end": "guidance acts nowhere",
        "training.p2_k": "the weight is then SNR^-gamma",
        "training.p2_gamma": "the weight is then uniform",
        "training.total_steps": "schedules go over training.n_iters",
        "training.start_ema": "the target is the network itself",
        "training.huber_c": "the distance is the norm",
        "training.ect_k": "r is t times one factor",
        "training.ect_b": "r is t times one factor",
        "training.doubling_steps": "there is one stage",
        "training.vlb_weight": "the bound trains nothing",
        "training.cross_entropy_weight": "the bound alone trains",
        "training.log_eps": "the logarithms are exact",
        "training.tangent_warmup": "the tangent is whole from the first step on",
        "training.bound_steps": "it is continuous time",
        "training.label_dropout": "every example's class is told",
        "training.perceptual_weight": "the distance is told and trains nothing",
        "training.logvar_init": "it is a logarithm",
        "training.kl_weight": "nothing holds the posterior",
        "training.codebook_weight": "the codebook learns nothing",
        "training.codebook_beta": "one of the two terms is left out",
        "training.disc_start": "the discriminator counts from the first batch",
        "training.disc_weight": "the discriminator learns and moves nothing",
        "training.disc_factor": "there is no discriminator",
        "training.vae_beta": "the divergence is told and trains nothing",
        "training.free_bits": "the divergence counts from 0",
        "training.r1_gamma": "there is no penalty",
        "training.r2_gamma": "there is no penalty",
        "training.gradient_penalty": "there is no penalty",
        "training.eval_freq": "no losses on the test set",
        "training.snapshot_fid_samples": "no FID while training",
        "optim.beta1": "no momentum",
        "optim.beta2": "each gradient is scaled by itself",
        "optim.weight_decay": "no decay",
        "optim.warmup": "no warm-up",
        "optim.warmup_images": "the warm-up is counted in steps",
        "optim.grad_clip": "nothing is clipped",
        "optim.decay_steps": "the rate does not fall",
        "optim.inverse_sqrt_steps": "the rate does not fall",
        "sampling.discretization": "the kernels are exact",
        "sampling.eta": "ddim is deterministic",
        "sampling.diffusion_scale": "the sampler follows the flow",
        "sampling.s_churn": "no noise is added",
        "sampling.log_eps": "the logarithms are exact",
        "sampling.flow_churn": "nothing is exchanged",
        "sampling.choice_temperature": "the likeliest draws stay",
        "sampling.s_min": "noise is added down to data",
        "sampling.s_max": "noise is added nowhere",
        "sampling.s_noise": "the added noise is 0",
        "sampling.label": "it is a class",
        "sampling.height": "it is that of the run",
        "sampling.width": "it is that of the run",
        "sampling.guidance": "it is the score without the condition",
        "sampling.guidance_low": "guidance acts down to data",
        "sampling.guidance_high": "the range allows it; `Settings` refuses the empty interval",
        "sampling.guidance_rescale": "no rescaling",
        "sampling.guide_checkpoint": "it is a step",
        "sampling.upsampler_checkpoint": "it is a step",
        "eval.seed": "it is the first seed",
        "eval.frechet_size": "images as they are",
        "eval.checkpoint": "it is a step",
        "eval.ema_std": "it is the average of model.ema_rate or its half-life",
        "eval.begin_step": "it is a step",
        "eval.end_step": "no range of steps",
        "eval.wait_minutes": "nothing is waited for",
        "eval.bpd_slots": "all examples of a batch at once",
        "eval.bpd_max_examples": "the whole test set",
        "eval.vlb_max_examples": "the whole test set",
        "edit.noise": "the measurement is exact",
    },
    "infinite": {
        "sampling.s_max": "noise is added up to the noisiest level",
        "sampling.guidance_high": "guidance acts up to the noisiest level",
        "sampling.choice_temperature": "the order is random",
    },
}
"""What some numbers may be, and why; a fraction is allowed wherever the default is a float."""
DEFAULTS = flatten(default.get_config().to_dict())
NUMBERS = {
    name: value for name, value in DEFAULTS.items() if isinstance(value, int | float) and not isinstance(value, bool)
}


def _config(name: str, value: Any) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    section, _, field = name.rpartition(".")
    within = config[section] if section else config
    with within.unlocked():
        del within[field]  # else True becomes 1.0 in the place of a float
        within[field] = value
    return config


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_of_a_config(name: str, tmp_path: Path) -> None:
    """It is refused before data are read, and nothing is written; or it is on the list above."""
    count = isinstance(NUMBERS[name], int)
    odd = {"negative": -1 if count else -0.5, "zero": 0 if count else 0.0, "fraction": 0.25, "infinite": math.inf}
    allowed = {kind for kind in odd if name in ALLOWED.get(kind, ())} | ({"fraction"} if not count else set())
    for kind in allowed:
        check_config(_config(name, odd[kind]))
    for value in (*NEVER, *(value for kind, value in odd.items() if kind not in allowed)):
        with pytest.raises(Refusal) as refusal:
            main.prepare("train", _config(name, value), str(tmp_path / "run"))
        line = str(refusal.value)
        assert line.startswith(f"{name} is {value!r}; it must be a ") and "\n" not in line, line
    assert not (tmp_path / "run").exists()


def test_every_field_has_a_range() -> None:
    """A new field without one turns this red; so does a range of a field that is no more."""
    own = {name for name in DEFAULTS if not name.startswith("published")}
    assert own == set(FIELDS) - {"model.num_scales", "data.image_size", "data.num_channels"}  # of some configs alone
    assert {field.name for field in dataclasses.fields(samplers.Settings)} == set(RANGES)
    assert {f"training.{name}" for name in OPTIONS} <= set(FIELDS)
    for constructor in MODELS.values():
        assert set(inspect.signature(constructor.__init__).parameters) - {"self", "rngs"} == set(ranges_of(constructor))
    for name, constructor in data.SOURCES.items():
        assert set(inspect.signature(constructor).parameters) == set(of_options(constructor, data.NUMBERS)), name


def test_names_are_those_of_the_tables_that_are_looked_up() -> None:
    tables = {
        "training.weight": WEIGHTINGS,
        "training.time_sampling": (*TIMES, "loss_aware"),
        "training.loss_norm": (*NORMS, "lpips"),
        "training.consistency_weight": WEIGHTS,
        "training.parallelism": DEVICES,
        "training.gan_loss": GAN_LOSSES,
        "optim.optimizer": optimizer.OPTIMIZERS,
        "eval.inception_resize": inception.RESIZES,
        "edit.task": editing.tasks.TASK_INPUTS,
    }
    for name, table in tables.items():
        assert set(FIELDS[name].names) == set(table), name
    names = [name for name, value in DEFAULTS.items() if isinstance(FIELDS.get(name), OneOf)]
    assert len(names) > 20
    for name in names:
        for value in ("no such name", 3, None):
            with pytest.raises(ValueError, match=rf"{re.escape(name)} is {value!r}; known are "):
                check_config(_config(name, value))
    for name in (name for name, value in DEFAULTS.items() if isinstance(value, bool)):
        for value in (1, 0.0, "True", None):
            with pytest.raises(ValueError, match=rf"{re.escape(name)} is {value!r}; it must be True or False"):
                check_config(_config(name, value))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"eval.compare_evaluations": (5.5,)}, r"eval\.compare_evaluations is \(5\.5,\).*whole number"),
        ({"eval.compare_evaluations": (5, 5)}, r"eval\.compare_evaluations is \(5, 5\).*each given once"),
        ({"eval.samplers": ("pc", "od")}, r"eval\.samplers is \('pc', 'od'\).*known are pc, ode"),
        ({"eval.samplers": ()}, r"eval\.samplers is \(\), and eval\.enable_sampling True"),
        ({"eval.begin_step": 5, "eval.end_step": 4}, r"begin_step is 5 and eval\.end_step 4, a range without a step"),
        ({"eval.enable_bpd": False, "eval.enable_sampling": False}, r"all False, so there is nothing to evaluate"),
        ({"eval.seed": 2**32 - 1, "eval.seeds": 2}, r"eval\.seed is 4294967295 and eval\.seeds 2"),
        ({"sampling.guidance_high": 0.0}, r"guidance_low is 0\.0 and sampling\.guidance_high 0\.0"),
        ({"optim.beta2": 0.999999999}, r"optim\.beta2 is 0\.999999999.*below 1"),  # in float32 it is 1
    ],
)
def test_what_contradicts_itself(fields: dict[str, Any], named: str) -> None:
    config = toy_mixture8_mlp.get_config()
    for name, value in fields.items():
        section, field = name.split(".")
        config[section][field] = value
    with pytest.raises(ValueError, match=named) as error:
        evaluation.run.check(build(config), likelihood=True)
    assert "\n" not in str(error.value)


OPTIONS = declared(*losses.LOSSES.values())
SCORE, SDE, POINT = (lambda x, t: x), sde_lib.create("vp"), np.zeros((1, 2))
MASK = inverse.mask(np.ones(2, bool))
CONSTRUCTORS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "ve": (partial(sde_lib.create, "ve"), ("sigma_min", "sigma_max", "t_min")),
    "edm": (partial(sde_lib.create, "edm"), ("sigma_min", "sigma_max")),
    "EDM": (sde_lib.EDM, ("sigma_max", "t_min")),
    "vp": (partial(sde_lib.create, "vp"), ("beta_min", "beta_max", "t_min")),
    "subvp": (partial(sde_lib.create, "subvp"), ("beta_min", "beta_max", "t_min")),
    "cosine": (partial(sde_lib.create, "vp", schedule="cosine"), ("s", "t_max", "t_min")),
    "sqrt_linear": (partial(sde_lib.create, "vp", schedule="sqrt_linear"), ("beta_min", "beta_max")),
    "discrete": (partial(sde_lib.create, "discrete"), ("n", "beta_min", "beta_max", "t_min")),
    "vdm": (partial(sde_lib.create, "vdm"), ("gamma_min", "gamma_max", "features", "t_min")),
    "levels": (partial(sde_lib.NoiseLevels, SDE), ("n",)),
    "settings": (
        samplers.Settings,
        tuple(n for n, o in declared(samplers.Settings).items() if o.kind not in (str, bool)),
    ),
    "churn": (samplers.Churn, ("s_churn", "s_min", "s_max", "s_noise")),
    "ddim": (partial(samplers.ddim, SDE, SCORE), ("eta",)),
    "langevin": (partial(samplers.langevin, SDE, SCORE), ("snr", "n_steps_each")),
    "annealed_langevin": (partial(samplers.annealed_langevin, SDE, SCORE), ("snr", "n_steps_each")),
    "deis": (partial(samplers.deis, SDE, SCORE), ("order",)),
    "dpm_solver": (partial(samplers.dpm_solver, SDE, SCORE), ("order", "eta")),
    "unipc": (partial(samplers.unipc, SDE, SCORE), ("order",)),
    "solve_flow": (partial(samplers.solve_flow, SDE, SCORE, POINT, 1.0, 1e-3), ("rtol", "atol", "slots", "max_steps")),
    "thresholded": (partial(samplers.thresholded, SDE, SCORE, "dynamic"), ("quantile", "low", "high")),
    "guidance": (partial(samplers.classifier_free, SDE, SCORE, 0, 0, scale=2.0), ("scale", "low", "high", "rescale")),
    "optimizer": (optimizer.create, tuple(n.removeprefix("optim.") for n in NUMBERS if n.startswith("optim."))),
    "ema": (
        partial(optimizer.create_ema, ema_rate=0.9, ema_warmup=True, batch_size=8),
        ("ema_rate", "ema_halflife_images", "ema_rampup"),
    ),
    **{
        f"loss {name}": (
            partial(losses.create, name, sde_lib.NoiseLevels(SDE, 1000) if name in ("hybrid", "variational") else SDE),
            tuple(option for option in declared(kind) if f"training.{option}" in NUMBERS),
        )
        for name, kind in losses.LOSSES.items()
        if any(f"training.{option}" in NUMBERS for option in declared(kind))
    },
    "measurement": (partial(inverse.mask, np.ones(2, bool)), ("noise",)),
    "downsample": (inverse.downsample, ("factor",)),
    "blur": (inverse.blur, ("std",)),
    "dps": (partial(inverse.create, SDE, SCORE, samplers.Settings(), MASK, "dps"), ("zeta",)),
    "pigdm": (partial(inverse.create, SDE, SCORE, samplers.Settings(), MASK, "pigdm"), ("data_std",)),
    "posterior": (partial(inverse.create, SDE, SCORE, samplers.Settings(), MASK, "posterior"), ("iterations",)),
    "repaint": (
        partial(inverse.create, SDE, SCORE, samplers.Settings(method="ancestral"), MASK, "repaint"),
        ("resamplings", "jump"),
    ),
    "vary": (partial(inverse.vary, SDE, SCORE, samplers.Settings()), ("strength",)),
    "toy_moons": (partial(data.create, "toy_moons"), ("train_length", "test_length")),
    "photo_patches": (partial(data.create, "photo_patches"), ("size", "train_length", "test_length")),
    "folder": (
        partial(data.create, "folder", path="nowhere", image_size=8),
        ("image_size", "num_channels", "test_fraction"),
    ),
    "tfds": (partial(data.create, "tfds:nothing"), ("image_size", "crop")),
}


OTHERWISE = {("levels", "n"): "num_scales", ("guidance", "scale"): "guidance is"}
"""What an option is called in the message, where not by its own name."""


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_every_number_of_a_constructor(name: str) -> None:
    """None takes NaN, minus infinity, a text, a truth value or what float32 and int32 cannot compute with."""
    make, options = CONSTRUCTORS[name]
    assert options
    for option in options:
        for value in NEVER:
            if value is None and option in ("t_min", "image_size", "crop"):
                continue  # left out
            with pytest.raises((ValueError, TypeCheckError)) as error:  # the latter is these tests' own hook
                make(**{option: value})
            if isinstance(error.value, ValueError):
                line = str(error.value)
                assert "\n" not in line and repr(value) in line and "; " in line
                assert OTHERWISE.get((name, option), option) in line


@pytest.mark.parametrize("name", (*DISCRIMINATORS, *TEXT_ENCODERS))
def test_what_no_run_trains_is_refused(name: str) -> None:
    (line,) = (line for line in of_config(_config("model.name", name)) if line.startswith("model.name is "))
    assert f"{name!r}, which " in line and "ncsnpp" in line and f", {name}" not in line


@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_a_network(name: str) -> None:
    """Of the constructor itself, before any weight is drawn; counts take no fraction either."""
    shapes = {"mlp": (2,), "unet_1d": (8, 1), "unet_3d": (2, 8, 8, 1), "point_transformer": (4, 2)}
    needed = {"shape": shapes[name]} if name in shapes else {"image_size": 8, "num_channels": 1}
    more = {"noisy_classifier": {"label_dim": 2}, "ncsn": {"num_scales": 9}, "glide": {"tokens": 3}}
    more["categorical_unet"] = {"num_categories": 2}
    needed |= more.get(name, {})
    needed = {"num_channels": 1} if name == "patch_discriminator" else needed
    needed = {"shape": (2,), "num_categories": 2} if name == "sequence_transformer" else needed
    needed = {} if name == "text_encoder" else {"image_size": 32} if name == "clip" else needed
    for option, allowed in ranges_of(MODELS[name]).items():
        inner = getattr(allowed, "given", allowed)
        several = isinstance(inner, Several)
        number = inner.each if several else getattr(inner, "side", inner)
        if not isinstance(number, Number):
            continue
        values = [
            *NEVER,
            *([-1] if option not in ("fir_kernel", "shift_factor", "log_scale") else []),
            *([1.5] if number.whole else [math.inf]),
        ]
        for value in values:
            if value is None and isinstance(allowed, Maybe):
                continue
            given = (value,) if several else value
            with pytest.raises(ValueError, match=rf"^model\.{option} is .*; it must be a ") as error:
                MODELS[name](**(needed | {option: given}), rngs=None)
            assert "\n" not in str(error.value)


def test_published_ranges_say_themselves() -> None:
    assert whole(1).words == f"it must be a whole number of at least 1 and at most {MOST}"
    sampler, named = Several(OneOf(("pc", "DDIM", "heun")), distinct=True), "; known are pc, DDIM, heun"
    assert sampler.refusal(("pc", "ddmi")) == f", one of them 'ddmi' (did you mean 'DDIM'?){named}"
    assert sampler.refusal((5,)) == f", one of them 5{named}"
    for value in (5, "pc", ("pc", "pc")):
        assert sampler.refusal(value) == f"; it must be a sequence, each given once, and for each value{named[1:]}"
    assert Maybe(whole(1)).refusal(0) == f"; {whole(1).words}; or None"
    assert Number(0.0, 1.0, above=True).words == "it must be a number above 0 and at most 1"
    assert (
        Several(whole(1), least=1).words == f"it must be a sequence of at least 1, and for each value {whole(1).words}"
    )
