"""Every network: options, shapes, errors, dropout, the functional view."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import MODELS, create
from models.functional import Network
from tests.models.published_weights import compiled

TINY = {"image_size": 8, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,)}
ONE_LEVEL = TINY | {"ch_mult": (1,), "attn_resolutions": ()}  # for what every layer has in common
IMAGES = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
NOISE = jax.ShapeDtypeStruct((2,), jnp.float32)


def variables_away_from_zero(network: Network) -> dict:
    """Random everywhere, so that no layer hides behind an initial scale of 1e-10."""
    leaves, structure = jax.tree.flatten(network.abstract())
    random = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [0.2 * random.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves])


CHOICES = {
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "resblock_type": ("ddpm", "biggan"),
    "progressive_combine": ("sum", "cat"),
    "fir": (True, False),
    "embedding_type": ("fourier", "positional"),
}
# Nine of the 144, in which every two values of two options meet.
PAIRS = [
    ("none", "none", "biggan", "cat", False, "positional"),
    ("none", "input_skip", "biggan", "sum", True, "fourier"),
    ("none", "residual", "ddpm", "sum", True, "positional"),
    ("output_skip", "none", "ddpm", "cat", True, "fourier"),
    ("output_skip", "input_skip", "ddpm", "sum", False, "positional"),
    ("output_skip", "residual", "biggan", "cat", False, "positional"),
    ("residual", "none", "biggan", "sum", True, "positional"),
    ("residual", "input_skip", "biggan", "cat", False, "positional"),
    ("residual", "residual", "ddpm", "sum", False, "fourier"),
]


def check_shape(values: tuple) -> None:
    network = Network.create("ncsnpp", **TINY, **dict(zip(CHOICES, values, strict=True)))
    out = jax.eval_shape(network.apply, network.abstract(), IMAGES, NOISE)
    assert (out.shape, out.dtype) == (IMAGES.shape, IMAGES.dtype)


@pytest.mark.parametrize("values", PAIRS, ids=lambda values: "-".join(map(str, values)))
def test_options_of_which_every_two_meet_have_the_shape_of_their_input(values):
    check_shape(values)


def test_every_two_values_of_two_options_meet():
    for i, j in itertools.combinations(range(len(CHOICES)), 2):
        asked = itertools.product(*(tuple(CHOICES.values())[k] for k in (i, j)))
        assert set(asked) == {(values[i], values[j]) for values in PAIRS}, (i, j)


@pytest.mark.slow
@pytest.mark.parametrize("progressive", CHOICES["progressive"])
@pytest.mark.parametrize("progressive_input", CHOICES["progressive_input"])
@pytest.mark.parametrize("resblock_type", CHOICES["resblock_type"])
def test_every_combination_of_options_has_the_shape_of_its_input(progressive, progressive_input, resblock_type):
    for values in itertools.product(*(CHOICES[name] for name in ("progressive_combine", "fir", "embedding_type"))):
        check_shape((progressive, progressive_input, resblock_type, *values))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"resblock_type": "ddpm", "fir": True, "progressive": "residual", "progressive_input": "residual"},
        {"progressive": "output_skip", "progressive_input": "input_skip", "progressive_combine": "cat"},
        {"conditional": False, "resamp_with_conv": False, "resblock_type": "ddpm", "nonlinearity": "elu"},
    ],
)
def test_combinations_the_pytorch_ancestor_cannot_run_are_finite_and_use_every_parameter(options):
    network = Network.create("ncsnpp", **TINY, **options)
    variables = variables_away_from_zero(network)
    x, c_noise = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([0.5, 2.0])

    def loss(params):
        return jnp.sum(jnp.square(network.apply(variables | {"params": params}, x, c_noise)))

    gradient = compiled(jax.grad(loss))(variables["params"])
    for name, value in gradient.items():
        assert np.isfinite(value).all(), name
        assert name.endswith("key.bias") or np.any(np.abs(value) > 1e-6), name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ncsnp", {}, r"unknown network 'ncsnp' \(did you mean 'ncsnpp'\?\); known: .*ddpm, .*mlp, .*ncsnpp"),
        (
            "ncsnpp",
            {"num_resblocks": 2},
            r"unknown option of ncsnpp 'num_resblocks' \(did you mean 'num_res_blocks'\?\)",
        ),
        ("ddpm", {"fir": True}, "unknown option of ddpm 'fir'"),
        ("mlp", {}, "mlp needs the option shape"),
        ("ncsnpp", {"image_size": 12, "ch_mult": (1, 1, 1, 1)}, "image_size=12 cannot be halved 3 times"),
        (
            "ncsnpp",
            {"attn_resolutions": (16, 4)},
            r"attn_resolutions \[16\] never occur: the levels have sizes \[8, 4\]",
        ),
        ("ncsnpp", {"ch_mult": ()}, r"ch_mult=\(\): give one positive multiple"),
        ("ncsnpp", {"progressive": "skip"}, "unknown progressive 'skip'; known: none, output_skip, residual"),
        ("ncsnpp", {"progressive_input": "sum"}, "unknown progressive_input"),
        ("ncsnpp", {"progressive_combine": "add"}, "unknown progressive_combine"),
        ("ncsnpp", {"resblock_type": "bigan"}, "did you mean 'biggan'"),
        ("ncsnpp", {"embedding_type": "sine"}, "unknown embedding_type"),
        ("ncsnpp", {"nonlinearity": "gelu"}, "did you mean 'relu'|did you mean 'elu'"),
        ("ncsnpp", {"num_res_blocks": 0}, "num_res_blocks is 0; .*at least 1"),
        ("ncsnpp", {"dropout": 1.0}, r"dropout is 1.0; .*of at least 0 and below 1"),
        ("ncsnpp", {"nf": 9}, "nf=9: .* choose an even nf"),
        ("ncsnpp", {"nf": 38}, "38 channels cannot be normalised in 9 equal groups"),
        ("ncsnpp", {"scale_by_sigma": True}, "give sigma_min, sigma_max and num_scales"),
        ("ddpm", {"nf": 40}, "40 channels cannot be normalised in 32 equal groups"),
        ("mlp", {"shape": (2,), "depth": 0}, "depth is 0; .*at least 1"),
        ("mlp", {"shape": (2,), "time_features": 5}, "time_features=5"),
    ],
)
def test_wrong_options_are_named_before_anything_compiles(name, options, message):
    if name in ("ncsnpp", "ddpm"):
        options = TINY | options
    with pytest.raises(ValueError, match=message) as error:
        Network.create(name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "x"),
    [
        ("ncsnpp", ONE_LEVEL | {"dropout": 0.5}, jnp.ones((4, 8, 8, 3))),
        ("mlp", {"shape": (2,), "width": 16, "dropout": 0.5}, jnp.ones((4, 2))),
    ],
)
def test_dropout_and_outputs_do_not_depend_on_how_a_batch_is_split(name, options, x):
    network = Network.create(name, **options)
    variables = variables_away_from_zero(network)
    keys, c_noise = jax.random.split(jax.random.key(1), 4), jnp.full(4, 3.0)
    apply = compiled(network.apply)
    whole = apply(variables, x, c_noise, keys=keys)
    halves = [apply(variables, x[s], c_noise[s], keys=keys[s]) for s in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(whole, jnp.concatenate(halves), rtol=1e-4, atol=1e-4 * np.abs(whole).max())
    assert np.abs(whole[0] - whole[1]).max() > 0.01 * np.abs(whole).max()  # equal inputs, their own masks
    without = apply(variables, x, c_noise)
    np.testing.assert_allclose(without[0], without[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jnp.ones((2, 2)), jnp.ones(2), jnp.ones(2)), "takes no condition"),
        ((jnp.ones((2, 3)), jnp.ones(2)), r"built for examples of shape \(2,\), received \(3,\)"),
        ((jnp.ones((2, 2)), jnp.ones(())), r"c_noise holds one value an example, shape \(2,\); received \(\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    network = Network.create("mlp", shape=(2,), width=8)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network.apply, network.abstract(), *arguments)
    with pytest.raises(ValueError, match="one key an example"):
        x, c_noise = jnp.ones((2, 2)), jnp.ones(2)
        jax.eval_shape(lambda v: network.apply(v, x, c_noise, keys=jax.random.key(0)), network.abstract())


def test_functional_view_and_module_are_one_network():
    options = {"shape": (2, 3), "embedding_type": "fourier", "width": 8}
    network, key = Network.create("mlp", **options), jax.random.key(3)
    variables = network.init(key)
    assert list(variables) == ["params", "fixed"] and list(variables["fixed"]) == ["fourier.frequencies"]
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, network.abstract())
    x, c_noise = jnp.ones((4, 2, 3)), jnp.linspace(0.1, 1, 4)
    out = network.apply(variables, x, c_noise)
    np.testing.assert_array_equal(out, create("mlp", key=key, **options)(x, c_noise))
    assert out.shape == x.shape
    assert network == Network.create("mlp", **(options | {"shape": [2, 3]}))
    assert hash(network) == hash(Network.create("mlp", **options))
    assert network.count() == sum(leaf.size for leaf in jax.tree.leaves(variables))


def test_variables_of_another_network_are_refused_by_name():
    network = Network.create("mlp", shape=(2,), width=8)
    variables = network.init(jax.random.key(0))
    variables["params"]["linear_outt.bias"] = variables["params"].pop("linear_out.bias")
    with pytest.raises(ValueError, match=r"missing \['linear_out.bias'\], unknown \['linear_outt.bias'\]"):
        network.apply(variables, jnp.ones((1, 2)), jnp.ones(1))


@pytest.mark.slow
def test_initial_network_is_close_to_nothing_and_bfloat16_close_to_float32():
    network = Network.create("ncsnpp", **TINY)
    x, c_noise = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([1.0, 500.0])
    apply, variables = compiled(network.apply), variables_away_from_zero(network)
    assert np.abs(apply(network.init(jax.random.key(1)), x, c_noise)).max() < 1e-3
    exact = apply(variables, x, c_noise)
    coarse = compiled(Network.create("ncsnpp", **TINY, dtype="bfloat16").apply)(variables, x, c_noise)
    assert coarse.dtype == jnp.float32
    error = np.abs(coarse - exact).max() / np.abs(exact).max()
    assert 1e-6 < error < 0.1  # bfloat16 was used, and only loses digits


def test_uncentred_images_are_mapped_to_minus_one_to_one():
    options = {"conditional": False} | ONE_LEVEL
    inside, outside = (Network.create("ncsnpp", **options, centered=centered) for centered in (False, True))
    variables, x = variables_away_from_zero(outside), jax.random.uniform(jax.random.key(0), (1, 8, 8, 3))
    mapped = compiled(inside.apply)(variables, x, jnp.ones(1))
    np.testing.assert_allclose(mapped, compiled(outside.apply)(variables, 2 * x - 1, jnp.ones(1)), rtol=1e-4, atol=1e-5)


def test_every_registered_network_is_reachable():
    ncsnv2 = {f"ncsnv2_{size}" for size in (64, 128, 256)}
    others = {"noisy_classifier", "patch_discriminator", "text_encoder", "clip"}
    autoencoders = {"autoencoder_kl", "autoencoder_vq", "vae"}
    unets = {"adm", "cross_attention_unet", "ddpm", "edm_unet", "glide", "guided_unet", "ncsnpp"}
    shapes = {"unet_1d", "unet_3d", "point_transformer"}
    categorical = {"categorical_unet", "sequence_transformer"}
    assert set(MODELS) == unets | {"mlp", "ncsn"} | ncsnv2 | others | autoencoders | shapes | categorical
