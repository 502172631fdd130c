"""The published recipes: every value that the papers state, transcribed here; parameter counts not of our making."""

import importlib

import pytest
from ml_collections import ConfigDict

import sde_lib
from configs import published
from experiment.build import network
from tests.configs.test_configs import EXPERIMENTS, _load
from tests.models.test_ncsn import by_hand

# Song et al. 2021, stated exactly (integers) or to two digits of a million.
COUNTS = {
    "ve/cifar10_ncsnpp": 62.69,
    "ve/cifar10_ncsnpp_continuous": 62_758_915,
    "ve/cifar10_ncsnpp_deep_continuous": 107_587_075,
    "ve/cifar10_ddpm": 35_218_947,
    "ve/celeba_ncsnpp": 62.69,
    "ve/bedroom_ncsnpp_continuous": 65_574_549,
    "ve/church_ncsnpp_continuous": 65_574_549,
    "ve/celebahq_256_ncsnpp_continuous": 65_574_549,
    "ve/ffhq_256_ncsnpp_continuous": 65_574_549,
    "ve/celebahq_ncsnpp_continuous": 105.79,
    "ve/ffhq_ncsnpp_continuous": 105.79,
    "vp/ddpm/cifar10": 35_218_947,
    "vp/ddpm/cifar10_continuous": 35_218_947,
    # DDPM less its embedding of time: two dense layers, and one of 512 features to c for every residual block, whose
    # widths sum to 2*128 + 6*256 on the way down, 2*256 in the middle and 9*256 + 3*128 on the way up.
    "vp/ddpm/cifar10_unconditional": 35_218_947 - (128 + 1) * 512 - (512 + 1) * 512 - (512 + 1) * 4992,
    "vp/ddpm/bedroom": 111.57,
    "vp/ddpm/church": 111.57,
    "vp/ddpm/celebahq": 111.57,
    "vp/cifar10_ddpmpp": 61_804_419,
    "vp/cifar10_ddpmpp_continuous": 61_804_419,
    "vp/cifar10_ddpmpp_deep_continuous": 106_632_579,
    "vp/cifar10_ncsnpp": 62.69,
    "vp/cifar10_ncsnpp_continuous": 62.69,
    "vp/cifar10_ncsnpp_deep_continuous": 107.52,
    "subvp/cifar10_ddpm_continuous": 35_218_947,
    "subvp/cifar10_ddpmpp_continuous": 61_804_419,
    "subvp/cifar10_ddpmpp_deep_continuous": 106_632_579,
    "subvp/cifar10_ncsnpp_continuous": 62.69,
    "subvp/cifar10_ncsnpp_deep_continuous": 107.52,
    # Of NCSN and NCSNv2 no paper gives a count: by hand, from the papers' tables of blocks.
    **{
        f"ve/ncsn/{data}{suffix}": by_hand("ncsn", nf=128, channels=3, vectors=3, rows=rows)
        for data, many in (("cifar10", 232), ("celeba", 500))
        for suffix, rows in (("", 10), ("_5", 10), ("_124", many), ("_1245", many))
    },
    "ve/ncsnv2/cifar10": by_hand("ncsnv2_64", nf=128, channels=3, vectors=3),
    "ve/ncsnv2/celeba": by_hand("ncsnv2_64", nf=128, channels=3, vectors=3),
    "ve/ncsnv2/bedroom": by_hand("ncsnv2_128", nf=128, channels=3, vectors=3),
}

# FID, Inception score, FID of the probability flow, bits/dim.
RESULTS = {
    "ve/cifar10_ncsnpp": (2.45, 9.73, None, None),
    "ve/cifar10_ncsnpp_continuous": (2.38, 9.83, None, None),
    "ve/cifar10_ncsnpp_deep_continuous": (2.20, 9.89, None, None),
    "vp/ddpm/cifar10": (3.24, None, 3.37, 3.28),
    "vp/ddpm/cifar10_continuous": (None, None, 3.69, 3.21),
    "vp/cifar10_ddpmpp": (2.78, 9.64, None, None),
    "vp/cifar10_ddpmpp_continuous": (2.55, 9.58, 3.93, 3.16),
    "vp/cifar10_ddpmpp_deep_continuous": (2.41, 9.68, 3.08, 3.13),
    "subvp/cifar10_ddpm_continuous": (None, None, 3.56, 3.05),
    "subvp/cifar10_ddpmpp_continuous": (2.61, 9.56, 3.16, 3.02),
    "subvp/cifar10_ddpmpp_deep_continuous": (2.41, 9.57, 2.92, 2.99),
}
NUMBERS = ("fid", "inception_score", "fid_ode", "bits_per_dim")

# What each family of recipes states; the config must say it, at the dotted name.
COMMON = {
    "optim.optimizer": "Adam", "optim.lr": 2e-4, "optim.beta1": 0.9, "optim.eps": 1e-8, "optim.warmup": 5000,
    "optim.grad_clip": 1.0, "optim.weight_decay": 0.0, "data.random_flip": True, "data.uniform_dequantization": False,
    "data.num_channels": 3, "eval.num_samples": 50_000, "sampling.denoise": "mean", "sampling.n_steps_each": 1,
    "training.snapshot_freq": 50_000, "training.likelihood_weighting": False, "sampling.rtol": 1e-5,
}  # fmt: skip
CIFAR10 = COMMON | {
    "data.dataset": "tfds:cifar10", "data.image_size": 32, "training.batch_size": 128, "training.n_iters": 1_300_000,
    "model.dropout": 0.1, "model.attn_resolutions": (16,), "model.ch_mult": (1, 2, 2, 2), "model.nf": 128,
    "sampling.steps": 1000, "sampling.discretization": 1000, "sampling.snr": 0.16,
}  # fmt: skip
OF_VE = {
    "sde.sigma_min": 0.01, "model.ema_rate": 0.999, "data.centered": False, "training.reduce_mean": False,
    "sampling.predictor": "reverse_diffusion", "sampling.corrector": "langevin", "sampling.corrector_norm": "batch",
    "sampling.t_min": 1e-5, "model.prediction": "score", "model.scale_by_sigma": True,
}  # fmt: skip
VE = CIFAR10 | OF_VE | {"sde.sigma_max": 50.0}
OF_VP = {
    "model.ema_rate": 0.9999, "data.centered": True, "training.reduce_mean": True, "sampling.corrector": "none",
    "sampling.predictor": "euler_maruyama", "sampling.t_min": 1e-3, "model.prediction": "eps",
}  # fmt: skip
VP = CIFAR10 | OF_VP
ANCESTRAL = {"sampling.predictor": "ancestral", "sampling.variance": "large"}
FOURIER = {"model.embedding_type": "fourier", "model.fourier_scale": 16.0, "model.noise_label": "sigma"}
FILTERS = {"model.fir": True, "model.progressive_input": "residual"}
DEEP = {"model.num_res_blocks": 8, "training.n_iters": 950_000}
LARGE = COMMON | {
    "training.n_iters": 2_400_000, "training.batch_size": 64, "data.image_size": 256, "model.dropout": 0.0,
    "model.attn_resolutions": (16,), "model.num_res_blocks": 2,
}  # fmt: skip
SKIPS = {"model.fir": True, "model.progressive": "output_skip", "model.progressive_input": "input_skip"}
VE_256 = LARGE | OF_VE | FOURIER | SKIPS | {
    "model.ch_mult": (1, 1, 2, 2, 2, 2, 2), "sampling.steps": 2000, "sampling.discretization": 2000,
    "sampling.snr": 0.075, "model.nf": 128,
}  # fmt: skip
VE_1024 = VE_256 | {
    "model.ch_mult": (1, 2, 4, 8, 16, 32, 32, 32), "model.nf": 16, "model.num_res_blocks": 1, "training.batch_size": 8,
    "data.image_size": 1024, "sde.sigma_max": 1348.0, "sampling.snr": 0.15, "model.ema_rate": 0.9999,
}  # fmt: skip
DDPM_256 = LARGE | OF_VP | ANCESTRAL | {
    "model.ch_mult": (1, 1, 2, 2, 4, 4), "optim.lr": 2e-5, "model.num_scales": 1000, "sampling.steps": 1000,
}  # fmt: skip
NCSN = COMMON | {
    "model.nf": 128, "model.nonlinearity": "elu", "model.normalization": "instance++", "optim.warmup": 0,
    "optim.grad_clip": -1.0, "sampling.predictor": "none", "sampling.corrector": "ald", "model.prediction": "score",
    "training.reduce_mean": False, "data.centered": False, "optim.lr": 1e-3, "sampling.denoise": "none",
    "sde.sigma_min": 0.01, "training.batch_size": 128, "model.name": "ncsn",
}  # fmt: skip


def _ncsn(sigma_max: float, n: int, snr: float, steps: int, ema: float) -> dict:
    return NCSN | {
        "sde.sigma_max": sigma_max, "model.num_scales": n, "sampling.snr": snr, "sampling.n_steps_each": steps,
        "model.ema_rate": ema, "sampling.steps": n,
    }  # fmt: skip


V2 = {"optim.lr": 1e-4, "model.scale_by_sigma": True, "sampling.denoise": "tweedie", "model.name": "ncsnv2_64"}
RECIPES = {
    "ve/cifar10_ncsnpp": VE | FILTERS | {"model.embedding_type": "positional", "model.num_scales": 1000},
    "ve/cifar10_ncsnpp_continuous": VE | FILTERS | FOURIER | {"model.num_res_blocks": 4},
    "ve/cifar10_ncsnpp_deep_continuous": VE | FILTERS | FOURIER | DEEP,
    "ve/cifar10_ddpm": VE | {"model.num_res_blocks": 2, "model.num_scales": 1000, "model.name": "ddpm"},
    "ve/celeba_ncsnpp": VE | FILTERS | {
        "data.dataset": "tfds:celeb_a", "data.crop": 140, "data.image_size": 64, "sde.sigma_max": 90.0,
        "sampling.snr": 0.17, "model.num_scales": 1000,
    },
    "ve/bedroom_ncsnpp_continuous": VE_256 | {"sde.sigma_max": 378.0, "data.dataset": "tfds:lsun/bedroom"},
    "ve/church_ncsnpp_continuous": VE_256 | {"sde.sigma_max": 380.0, "data.dataset": "tfds:lsun/church_outdoor"},
    "ve/celebahq_256_ncsnpp_continuous": VE_256 | {"sde.sigma_max": 348.0, "data.dataset": "tfds:celeb_a_hq/256"},
    "ve/ffhq_256_ncsnpp_continuous": VE_256 | {"sde.sigma_max": 348.0, "data.dataset": "folder"},
    "ve/celebahq_ncsnpp_continuous": VE_1024 | {"data.dataset": "tfds:celeb_a_hq/1024"},
    "ve/ffhq_ncsnpp_continuous": VE_1024 | {"training.reduce_mean": True, "data.dataset": "folder"},
    "vp/ddpm/cifar10": VP | ANCESTRAL | {"model.num_res_blocks": 2, "model.num_scales": 1000},
    "vp/ddpm/cifar10_continuous": VP | {"model.num_res_blocks": 2},
    "vp/ddpm/cifar10_unconditional": VP | ANCESTRAL | {"model.conditional": False, "model.num_scales": 1000},
    "vp/ddpm/bedroom": DDPM_256 | {"data.dataset": "tfds:lsun/bedroom"},
    "vp/ddpm/church": DDPM_256 | {"data.dataset": "tfds:lsun/church_outdoor"},
    "vp/ddpm/celebahq": DDPM_256 | {"data.dataset": "tfds:celeb_a_hq/256"},
    "vp/cifar10_ddpmpp": VP | ANCESTRAL | {"model.num_res_blocks": 4, "model.num_scales": 1000},
    "vp/cifar10_ddpmpp_continuous": VP | {"model.num_res_blocks": 4},
    "vp/cifar10_ddpmpp_deep_continuous": VP | DEEP,
    "vp/cifar10_ncsnpp": VP | FILTERS | {"sampling.predictor": "reverse_diffusion", "model.num_scales": 1000},
    "vp/cifar10_ncsnpp_continuous": VP | FILTERS,
    "vp/cifar10_ncsnpp_deep_continuous": VP | FILTERS | DEEP,
    "subvp/cifar10_ddpm_continuous": VP | {"model.num_res_blocks": 2},
    "subvp/cifar10_ddpmpp_continuous": VP | {"model.num_res_blocks": 4},
    "subvp/cifar10_ddpmpp_deep_continuous": VP | DEEP,
    "subvp/cifar10_ncsnpp_continuous": VP | FILTERS,
    "subvp/cifar10_ncsnpp_deep_continuous": VP | FILTERS | DEEP,
    "ve/ncsn/cifar10": _ncsn(1.0, 10, 0.316, 100, 0.0),
    "ve/ncsn/cifar10_5": _ncsn(1.0, 10, 0.316, 100, 0.999),
    "ve/ncsn/cifar10_124": _ncsn(50.0, 232, 0.176, 5, 0.0),
    "ve/ncsn/cifar10_1245": _ncsn(50.0, 232, 0.176, 5, 0.999),
    "ve/ncsn/celeba": _ncsn(1.0, 10, 0.316, 100, 0.0),
    "ve/ncsn/celeba_5": _ncsn(1.0, 10, 0.316, 100, 0.999),
    "ve/ncsn/celeba_124": _ncsn(90.0, 500, 0.128, 5, 0.0),
    "ve/ncsn/celeba_1245": _ncsn(90.0, 500, 0.128, 5, 0.999),
    "ve/ncsnv2/cifar10": _ncsn(50.0, 232, 0.176, 5, 0.999) | V2,
    "ve/ncsnv2/celeba": _ncsn(90.0, 500, 0.128, 5, 0.999) | V2,
    "ve/ncsnv2/bedroom": _ncsn(190.0, 1086, 0.095, 3, 0.9999) | V2 | {"model.name": "ncsnv2_128"},
}  # fmt: skip


def load(name: str) -> ConfigDict:
    return _load(f"configs/{name}.py")


def test_every_published_recipe_is_there_and_checked() -> None:
    assert set(COUNTS) == set(RECIPES) and set(RESULTS) <= set(COUNTS)
    present = {path.removeprefix("configs/").removesuffix(".py") for path in EXPERIMENTS}
    assert set(COUNTS) <= present
    data_sets = ("cifar10", "celeba", "bedroom", "church", "ffhq")
    ours = {f"{sde}/cifar10_classifier" for sde in ("vp", "ve")}  # nobody published these
    ours |= {"vp/cifar10_ddpmpp_classes", "ve/cifar10_ncsnpp_classes"}
    of_them = {
        name
        for name in present
        if name.split("/")[-1].startswith(data_sets) and not name.startswith(("edm/", "consistency/"))
    }
    assert of_them - ours - set(COUNTS) == set(), "recipes without a count"


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_it_builds_abstractly_with_its_count_of_parameters(name: str) -> None:
    config, wanted = load(name), COUNTS[name]
    size = config.data.image_size
    built = network(config, sde_lib.create(**config.sde), (size, size, config.data.num_channels))
    count = built.count()
    assert (round(count / 1e6, 2) if isinstance(wanted, float) else count) == wanted


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_what_the_papers_say(name: str) -> None:
    config = load(name)
    for dotted, wanted in RECIPES[name].items():
        section, field = dotted.split(".")
        assert config[section].get(field, "absent") == wanted, dotted
    discrete = "model.num_scales" in RECIPES[name]
    assert config.training.continuous is not discrete
    expected = ("index_down" if config.sde.name == "ve" else "index") if discrete else None
    assert config.model.noise_label == (expected or ("sigma" if config.sde.name == "ve" else "t999"))
    if discrete:
        assert config.sampling.discretization == config.model.num_scales
    if config.sde.name == "ve":
        assert config.sde.t_min == 1e-5
    else:
        assert (config.sde.get("beta_min", 0.1), config.sde.get("beta_max", 20.0)) == (0.1, 20.0)


@pytest.mark.parametrize("name", COUNTS)
def test_its_published_numbers_are_the_papers_and_its_docstring_says_them(name: str) -> None:
    config = load(name)
    wanted = {k: v for k, v in zip(NUMBERS, RESULTS.get(name, (None,) * 4), strict=True) if v is not None}
    assert {k: v for k, v in config.published.items() if k in NUMBERS} == wanted
    text = importlib.import_module("configs." + name.replace("/", ".")).__doc__
    assert ("(published)" in text) == bool(wanted)
    for value in wanted.values():
        assert f"{value:.2f}" in text
    if not wanted:
        assert not config.published
        return
    rule = {"fid": "best_fid", "inception_score": "best_fid", "fid_ode": "last", "bits_per_dim": "last"}
    assert config.published.checkpoint_rule.to_dict() == {k: rule[k] for k in wanted}
    assert config.published.num_samples == 50_000 and config.published.checkpoint_every == 50_000
    assert config.published.denoise == "mean" and config.published.likelihood_t_min == 1e-5
    assert config.published.sampling_t_min == (1e-5 if config.sde.name == "ve" else 1e-3)


def test_a_number_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['fidd'\]; known are fid"):
        published.record(load("vp/cifar10_ddpmpp"), fidd=1.0)
