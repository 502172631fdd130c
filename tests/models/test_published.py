"""Networks against arrays computed by the published code, in float32 and float64."""

import jax
import numpy as np
import pytest

from models.functional import Network
from tests.models.published_weights import REFERENCE, compiled, formula_weights, load_network, network_of, to_variables

TORCH = ["ve_ncsnpp_cont", "vp_ddpmpp_cont", "vp_ddpm_cont", "ve_ncsnpp_skip_cont", "ve_ncsnpp_disc"]
JAX = ["jax/ve_ncsnpp_cont", "jax/vp_ddpmpp_cont"]
FORMULA = ["formula_cifar10_ncsnpp_ve", "formula_cifar10_ddpm_vp"]
CIFAR10 = {"image_size": 32, "num_channels": 3}
DDPMPP = CIFAR10 | {"nf": 128, "ch_mult": (1, 2, 2, 2), "num_res_blocks": 4}
NCSNPP = DDPMPP | {"fir": True, "progressive_input": "residual", "scale_by_sigma": True, "embedding_type": "fourier"}
DISCRETE = {"embedding_type": "positional", "sigma_min": 0.01, "sigma_max": 50.0, "num_scales": 1000}
SKIP = NCSNPP | {"progressive": "output_skip", "progressive_input": "input_skip"}
FFHQ_256 = SKIP | {"image_size": 256, "ch_mult": (1, 1, 2, 2, 2, 2, 2), "num_res_blocks": 2}
FFHQ_1024 = SKIP | {"image_size": 1024, "nf": 16, "ch_mult": (1, 2, 4, 8, 16, 32, 32, 32), "num_res_blocks": 1}
DDPM_256 = {"image_size": 256, "num_channels": 3, "ch_mult": (1, 1, 2, 2, 4, 4)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("ncsnpp", NCSNPP, 62_758_915),
        ("ncsnpp", NCSNPP | {"num_res_blocks": 8}, 107_587_075),
        ("ncsnpp", DDPMPP, 61_804_419),
        ("ncsnpp", DDPMPP | {"num_res_blocks": 8}, 106_632_579),
        ("ddpm", CIFAR10, 35_218_947),
        ("ncsnpp", FFHQ_256, 65_574_549),
    ],
)
def test_parameter_count_is_the_published_one(name, options, parameters):
    assert Network.create(name, **options).count() == parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("ncsnpp", NCSNPP | DISCRETE, 62.69),
        ("ncsnpp", NCSNPP | DISCRETE | {"image_size": 64}, 62.69),
        ("ncsnpp", DDPMPP | {"fir": True, "progressive_input": "residual", "num_res_blocks": 8}, 107.52),
        ("ncsnpp", FFHQ_1024, 105.79),
        ("ddpm", DDPM_256, 111.57),
    ],
)
def test_parameter_count_to_the_published_digits(name, options, millions):
    assert round(Network.create(name, **options).count() / 1e6, 2) == millions


def labels_float64(config: dict, arrays: dict) -> np.ndarray:
    """What the published code gives the network at the float32 times `t`, in float64."""
    if arrays.get("labels", np.zeros(0)).dtype == np.int64:
        return arrays["labels"]
    t = arrays["t"].astype(np.float64)
    if config["training"]["sde"] == "vpsde":
        return 999 * t
    low, high = config["model"]["sigma_min"], config["model"]["sigma_max"]
    return low * (high / low) ** t


def nhwc(image: np.ndarray) -> np.ndarray:
    return image.transpose(0, 2, 3, 1)


def assert_close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# Every day a network of each kind, in one precision; the others with all tests.
EVERY_DAY = (("ve_ncsnpp_cont", "float32"), ("vp_ddpm_cont", "float64"))
TORCH_CASES = [
    pytest.param(name, precision, marks=[] if (name, precision) in EVERY_DAY else pytest.mark.slow)
    for name in TORCH
    for precision in ("float32", "float64")
]


@pytest.mark.parametrize(("name", "precision"), TORCH_CASES, indirect=["precision"])
def test_pytorch_checkpoint_gives_the_published_outputs(name, precision):
    network, ema, raw, config = load_network(name)
    with np.load(REFERENCE / "models" / f"{name}.npz") as file:
        arrays = dict(file)
    double, suffix = precision == "float64", "_f64" if precision == "float64" else ""
    labels = labels_float64(config, arrays) if double else arrays["labels"]
    x, v = nhwc(arrays["x"]).astype(precision), nhwc(arrays["vjp_v"]).astype(precision)
    ema, raw = jax.tree.map(lambda leaf: leaf.astype(precision), (ema, raw))
    # Fourier: log(sigma) times frequencies of scale 16
    tolerance = 1e-9 if double else 5e-5 if config["model"].get("fourier_scale") else 2e-5

    @compiled
    def output_and_gradient(variables, labels):
        out, pull = jax.vjp(lambda x: network.apply(variables, x, labels), x)
        return out, pull(v)[0]

    for kind, variables in (("ema", ema), ("raw", raw)):
        out, gradient = output_and_gradient(variables, labels)
        assert out.dtype == precision
        assert_close(out, nhwc(arrays[f"out_{kind}{suffix}"]), tolerance)
        if kind == "ema":
            assert_close(gradient, nhwc(arrays[f"vjp_x_ema{suffix}"]), 1e-9 if double else 1e-4)
        if "labels_int" in arrays:
            out, _ = output_and_gradient(variables, arrays["labels_int"].astype(labels.dtype))
            assert_close(out, nhwc(arrays[f"out_int_{kind}{suffix}"]), tolerance)


@pytest.mark.parametrize("name", JAX)
@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)], indirect=True)
def test_jax_checkpoint_gives_the_published_outputs(name, precision):
    network, ema, raw, config = load_network(name)
    with np.load(REFERENCE / name / "io.npz") as file:
        arrays = dict(file)
    suffix = "_f64" if precision == "float64" else ""
    tolerance = 1e-9 if suffix else 5e-5 if config["model"]["embedding_type"] == "fourier" else 2e-5
    ema, raw = jax.tree.map(lambda leaf: leaf.astype(precision), (ema, raw))
    forward = compiled(network.apply)
    for kind, variables in (("ema", ema), ("raw", raw)):
        out = forward(variables, arrays["x"].astype(precision), arrays["labels"].astype(precision))
        assert_close(out, arrays[f"out_{kind}{suffix}"], tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMULA)
def test_full_size_network_gives_the_published_output(name, precision):
    config, weights = formula_weights(name)
    network = network_of(config)
    with np.load(REFERENCE / "models" / f"{name}.npz") as file:
        arrays = dict(file)
    double, suffix = precision == "float64", "_f64" if precision == "float64" else ""
    labels = labels_float64(config, arrays) if double else arrays["labels"]
    variables = jax.tree.map(lambda leaf: leaf.astype(precision), to_variables(network, weights))
    out = compiled(network.apply)(variables, nhwc(arrays["x"]).astype(precision), labels)
    tolerance = 5e-5 if config["model"]["embedding_type"] == "fourier" else 2e-5
    assert_close(out, nhwc(arrays[f"out{suffix}"]), 1e-9 if double else tolerance)
