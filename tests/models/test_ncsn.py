"""NCSN and NCSNv2: normalisations by their formulas, parameter counts by hand, what the noise level changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.functional import Network
from models.layers import Keys
from models.refinenet import NORMS, Make, Norm, Pooling
from models.resample import downsample
from tests.models.published_weights import compiled

TINY = {"image_size": 8, "num_channels": 3, "nf": 8}
SIGMAS = {"sigma_min": 0.01, "sigma_max": 50.0, "num_scales": 10}
OPTIONS = {"ncsn": {"num_scales": 10}, "ncsnv2_64": SIGMAS, "ncsnv2_128": SIGMAS, "ncsnv2_256": SIGMAS}

# The convolutions of each network in multiples of nf, (in, out): how many, read off the papers' tables of blocks. With
# bias: residual blocks (four a stage, a dilated stage also on its shortcut), fusion (two a refinement block but the
# first). Without: units (4 an input, 2 behind; 6 behind the last), pooling (2). 1x1: the shortcuts where images halve.
TABLES = {
    "ncsnv2_64": {
        "biased": {(1, 1): 5 + 2, (1, 2): 1, (2, 2): 2 + 5 + 5 + 2, (2, 1): 2},
        "bare": {(2, 2): 8 + 12 + 8, (1, 1): 4 + 16},
        "one": {(1, 2): 1},
        "norms": 4 * 1 + (1 + 1 + 2 + 2) + 4 * 2 + 4 * 2 + 1,
    },
    "ncsnv2_128": {
        "biased": {(1, 1): 5 + 2, (1, 2): 1, (2, 2): 2 + 4 + 1 + 2, (2, 4): 2, (4, 4): 2 + 5, (4, 2): 2, (2, 1): 2},
        "bare": {(4, 4): 8 + 8, (2, 2): 4 + 12 + 8, (1, 1): 4 + 16},
        "one": {(1, 2): 1, (2, 2): 1},
        "norms": 4 + 6 + 8 + (2 + 2 + 4 + 4) + 16 + 1,
    },
    "ncsnv2_256": {
        "biased": {(1, 1): 7, (1, 2): 1, (2, 2): 2 + 4 + 4 + 1 + 4, (2, 4): 2, (4, 4): 7, (4, 2): 2, (2, 1): 2},
        "bare": {(4, 4): 16, (2, 2): 4 + 12 + 12 + 8, (1, 1): 20},
        "one": {(1, 2): 1, (2, 2): 2},
        "norms": 4 + 6 + 8 + 8 + 12 + 16 + 1,
    },
}
TABLES["ncsn"] = TABLES["ncsnv2_64"] | {"norms": 27 + (28 * 2 + 20) + (4 * 2 + 2)}  # one before every convolution


def by_hand(name: str, *, nf: int, channels: int, vectors: int, rows: int = 1) -> int:
    """The number of parameters; `vectors` of each norm, with `rows` noise levels."""
    table = TABLES[name]
    total = 9 * channels * nf + nf + 9 * nf * channels + channels
    for (a, b), count in table["biased"].items():
        total += count * (9 * a * b * nf**2 + b * nf)
    for (a, b), count in table["bare"].items():
        total += count * 9 * a * b * nf**2
    for (a, b), count in table["one"].items():
        total += count * (a * b * nf**2 + b * nf)
    return total + table["norms"] * nf * vectors * rows


@pytest.mark.parametrize(
    ("name", "normalization"),
    [*((name, "instance++") for name in TABLES), *(("ncsnv2_64", norm) for norm in NORMS), ("ncsn", "variance")],
)
def test_parameter_count_by_hand(name: str, normalization: str) -> None:
    vectors = {"instance++": 3, "instance": 2, "group": 2, "variance": 1}[normalization]
    rows = 10 if name == "ncsn" else 1
    options = OPTIONS[name] | {"image_size": 32, "num_channels": 3, "normalization": normalization}
    assert Network.create(name, **options).count() == by_hand(name, nf=128, channels=3, vectors=vectors, rows=rows)


def test_ncsnv2_on_cifar10_has_29_694_083_parameters() -> None:
    assert Network.create("ncsnv2_64", image_size=32, num_channels=3, **SIGMAS).count() == 29_694_083


def normalised(kind: str, x: np.ndarray, scale, mean_scale, bias) -> np.ndarray:
    """The papers' formulas, one example, float64."""
    mean, var = x.mean((0, 1)), x.var((0, 1))
    if kind == "group":
        groups = min(x.shape[-1] // 4, 32)
        parts = x.reshape(*x.shape[:2], groups, -1)
        mean = np.repeat(parts.mean((0, 1, 3)), parts.shape[-1])
        var = np.repeat(parts.var((0, 1, 3)), parts.shape[-1])
    h = x / np.sqrt(var + 1e-5) if kind == "variance" else (x - mean) / np.sqrt(var + 1e-5)
    if kind == "instance++":
        h = h + mean_scale * (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5)
    return scale * h + bias


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("kind", NORMS)
def test_norms_are_their_formulas_each_example_with_the_row_of_its_level(kind: str, classes: int, x64) -> None:
    random = np.random.default_rng(0)
    norm = Norm(8, kind, classes, rngs=_keys())
    for name in NORMS[kind]:
        parameter = getattr(norm, name)
        parameter[...] = jnp.asarray(random.normal(size=parameter[...].shape))
    x = random.normal(size=(3, 4, 4, 8)) + random.normal(size=8)
    levels = np.array([2, 0, 3]) if classes else None
    found = norm(jnp.asarray(x), None if levels is None else jnp.asarray(levels))
    for i in range(3):
        rows = {}
        for name in ("scale", "mean_scale", "bias"):
            table = np.zeros(8) if getattr(norm, name) is None else np.asarray(getattr(norm, name)[...], np.float64)
            rows[name] = table[levels[i]] if table.ndim == 2 else table
        exact = normalised(kind, x[i], **rows)
        np.testing.assert_allclose(found[i], exact, atol=1e-12)


def _keys() -> Keys:
    return Keys(jax.random.key(0))


@pytest.mark.parametrize("max_pool", [True, False])
def test_pooling_is_a_window_of_25_pixels(max_pool: bool) -> None:
    """With convolutions that copy their input: x + pool(x) + pool(pool(x)), at the edge zeros for the mean."""
    make = Make(kind="group", classes=0, act=lambda x: x, max_pool=max_pool, dtype=None, rngs=_keys())
    pooling = Pooling(1, make=make)
    for conv in pooling.convs:
        conv.kernel[...] = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    x = np.random.default_rng(1).normal(size=(6, 6))

    def pool(image):
        padded = np.pad(image, 2, constant_values=-np.inf if max_pool else 0.0)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
        return windows.max((2, 3)) if max_pool else windows.mean((2, 3))

    exact = x + pool(x) + pool(pool(x))
    np.testing.assert_allclose(pooling(jnp.asarray(x[None, ..., None]), None)[0, ..., 0], exact, rtol=1e-5, atol=1e-5)


def test_halving_is_the_mean_of_four() -> None:
    np.testing.assert_allclose(downsample(jnp.arange(4.0).reshape(1, 2, 2, 1)), jnp.full((1, 1, 1, 1), 1.5))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "normalization"),
    [*((name, "instance++") for name in OPTIONS), ("ncsn", "group"), ("ncsn", "instance"), ("ncsnv2_64", "variance")],
)
def test_shapes_and_dtypes(name: str, normalization: str) -> None:
    network = Network.create(name, **TINY, **OPTIONS[name], normalization=normalization, dtype=jnp.bfloat16)
    x, labels = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
    out = jax.eval_shape(network.apply, network.abstract(), x, labels)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)


def variables_of(network: Network) -> dict:
    leaves, structure = jax.tree.flatten(network.abstract())
    random = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [0.3 * random.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves])


@pytest.mark.slow
def test_ncsn_sees_the_noise_through_the_rows_of_its_norms_alone() -> None:
    """Equal images at labels 2, 2.4 and 7: rounding, and a change of row 7 alone moves only the third."""
    network = Network.create("ncsn", **TINY, **OPTIONS["ncsn"])
    variables = variables_of(network)
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (8, 8, 3)), (3, 8, 8, 3))
    labels, apply = jnp.array([2.0, 2.4, 7.0]), compiled(network.apply)
    out = apply(variables, x, labels)
    np.testing.assert_array_equal(out[0], out[1])
    assert np.abs(out[2] - out[0]).max() > 1e-3
    moved = {k: v + 0.1 * (np.arange(10) == 7)[:, None] if ".scale" in k else v for k, v in variables["params"].items()}
    after = apply(variables | {"params": moved}, x, labels)
    np.testing.assert_array_equal(after[:2], out[:2])
    assert np.abs(after[2] - out[2]).max() > 1e-3


@pytest.mark.parametrize("discrete", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_ncsnv2_divides_by_sigma_and_sees_no_more_of_the_noise(discrete: bool) -> None:
    network = Network.create("ncsnv2_64", **TINY, **(SIGMAS if discrete else {}))
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (8, 8, 3)), (3, 8, 8, 3))
    sigmas = np.geomspace(50.0, 0.01, 10)[[0, 4, 9]]
    out = compiled(network.apply)(variables_of(network), x, jnp.array([0, 4, 9] if discrete else sigmas))
    whole = out * sigmas[:, None, None, None].astype(np.float32)
    np.testing.assert_allclose(whole[1:], whole[:1].repeat(2, 0), rtol=2e-5, atol=1e-5)
    assert np.abs(whole[0]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncsn", "ncsnv2_64"])
def test_every_parameter_has_a_gradient(name: str) -> None:
    network = Network.create(name, **TINY, **OPTIONS[name])
    variables = variables_of(network)
    x, labels = jax.random.normal(jax.random.key(0), (10, 8, 8, 3)), jnp.arange(10.0)

    def loss(params):
        return jnp.sum(jnp.square(network.apply(variables | {"params": params}, x, labels)))

    gradient = compiled(jax.grad(loss))(variables["params"])
    for parameter, value in gradient.items():
        assert np.isfinite(value).all() and np.any(np.abs(value) > 1e-6), parameter


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ncsn", {}, "ncsn needs the option num_scales"),
        ("ncsn", {"num_scales": 0}, "num_scales=0: its norms have a row for each noise level"),
        ("ncsnv2_64", {"num_scales": 10}, r"give sigma_min and sigma_max \(received None, None\)"),
        ("ncsnv2_64", SIGMAS | {"normalization": "instance+"}, r"unknown normalization 'instance\+' \(did you mean"),
        ("ncsnv2_64", SIGMAS | {"nonlinearity": "selu"}, r"did you mean 'elu'"),
        (
            "ncsnv2_256",
            SIGMAS | {"image_size": 12},
            "image_size=12 cannot be halved 3 times, as NCSNv2_256 does.*multiples of 8",
        ),
        (
            "ncsnv2_64",
            SIGMAS | {"normalization": "group", "nf": 9},
            "9 channels cannot be normalised in 2",
        ),
        ("ncsnv2_63", SIGMAS, "did you mean 'ncsnv2_64'"),
    ],
)
def test_wrong_options_are_one_line(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Network.create(name, **(TINY | options))
    assert "\n" not in str(error.value)
