"""Autoencoders of latent diffusion against arrays of diffusers and CompVis, and what they refuse."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.codebook import usage
from autoencoders.posterior import Posterior
from checkpoints import compvis, importing
from limits import sides
from models import AUTOENCODERS
from models.autoencoder import straight_through
from models.functional import Network
from tests.models.published_weights import compiled

NETWORKS = Path(__file__).parents[1] / "reference" / "networks"
SLOW = pytest.mark.slow
TINY = {"image_size": 8, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "num_groups": 4}
KL = Network.create("autoencoder_kl", **TINY | {"image_size": 16})
VQ = Network.create("autoencoder_vq", **TINY | {"image_size": 32, "num_codes": 24})


def nhwc(array):
    return np.moveaxis(array, 1, -1)


def assert_close(found, expected, tolerance=2e-5):
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected))).all()


@functools.cache
def recorded(name: str) -> tuple[dict, dict]:
    """The weights of a recorded autoencoder, and its arrays, channels last."""
    network, file = {
        "autoencoder_kl": (KL, NETWORKS / "autoencoder_kl"),
        "autoencoder_vq": (VQ, NETWORKS / "autoencoder_vq" / "vqmodel.safetensors"),
    }[name]
    arrays = np.load(NETWORKS / name / "io.npz")
    variables = importing.read(file, network).variables(ema=True)
    return variables, {k: nhwc(array) if array.ndim == 4 else array for k, array in arrays.items()}


def test_the_kl_autoencoder_is_that_of_diffusers():
    """Encoder, posterior and decoder of images that are not square, and of a size that it was not built for."""
    variables, io = recorded("autoencoder_kl")

    def both(variables, x, z):
        module = KL.module(variables)
        return module.encode(x), KL.apply(variables, x, None), module.decode(z)

    moments, reconstruction, decoded = compiled(both)(variables, io["x"], io["z"])
    posterior = Posterior.of_moments(moments)
    assert_close(posterior.mean, io["mean"])
    assert_close(posterior.log_variance, io["logvar"])
    assert_close(posterior.sample(io["noise"]), io["sample"])
    np.testing.assert_allclose(posterior.kl(), io["kl"], rtol=2e-5)
    assert_close(reconstruction, io["reconstruction_from_mean"])
    assert_close(decoded, io["decoded"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_vq_autoencoder_is_that_of_compvis(precision):
    variables, io = recorded("autoencoder_vq")
    with jax.enable_x64(precision == "float64"):
        cast = lambda tree: jax.tree.map(lambda array: jnp.asarray(array, precision), tree)  # noqa: E731
        variables, x, h, z, projection = cast(
            (variables, io["x"], io["prequant"], io["z"], io["projection"]),
        )

        def everything(variables, x, h, z, projection):
            module = VQ.module(variables)
            prequant, (quantized, codes) = module.encode(x), module.quantize(h)
            from_codes = module.decode(module.codebook.of_codes(codes), quantize=False)
            gradient = jax.grad(lambda h: jnp.sum(projection * module.decode(h)))(h)
            kept = module.decode(z, quantize=False)
            return prequant, quantized, codes, from_codes, gradient, module(x), module.decode(z), kept

        found = compiled(everything)(variables, x, h, z, projection)
        names = ("prequant", "quantized", "codes", "from_codes", "grad_prequant_through_decoder", "reconstruction")
        for name, array in zip((*names, "decoded", "decoded_not_quantized"), found, strict=True):
            if name == "codes":
                np.testing.assert_array_equal(array, io[name])
            elif name.startswith("grad") and precision == "float32":  # the recorded one is of float64
                assert np.linalg.norm(array - io[name]) < 1e-4 * np.linalg.norm(io[name])
            else:
                assert_close(array, io[name])
        perplexity, used = usage(found[2], 24)
        np.testing.assert_allclose(perplexity, io["perplexity"], rtol=1e-5)
        assert used == io["cluster_use"]


def test_codes_are_the_nearest_vectors_and_gradients_go_where_they_should():
    network = Network.create("autoencoder_vq", **TINY | {"num_codes": 50})
    random = np.random.default_rng(0)
    book = random.normal(size=(50, 3)).astype(np.float32)
    h = random.normal(size=(2, 3, 5, 3)).astype(np.float32)
    params = {name: np.zeros(leaf.shape, np.float32) for name, leaf in network.abstract()["params"].items()}
    variables = {"params": params, "fixed": {}}
    weights = random.normal(size=h.shape).astype(np.float32)

    @compiled
    def everything(h, book):
        def through(h, book):
            module = network.module({"params": variables["params"] | {"codebook.embedding": book}, "fixed": {}})
            quantized, codes = module.quantize(h)
            passed = straight_through(h, quantized)
            return (passed, quantized), codes

        values, back, codes = jax.vjp(through, h, book, has_aux=True)
        zeros = jnp.zeros_like(h)
        return *values, codes, back((weights, zeros)), back((zeros, weights))[1]

    passed, quantized, codes, (of_h, of_book), alone = everything(h, book)
    distances = np.square(h[..., None, :] - book).sum(-1)
    np.testing.assert_array_equal(codes, distances.argmin(-1))
    np.testing.assert_array_equal(quantized, book[np.asarray(codes)])
    np.testing.assert_array_equal(passed, quantized)
    np.testing.assert_array_equal(of_h, weights)
    np.testing.assert_array_equal(of_book, np.zeros_like(book))
    expected = np.zeros_like(book)
    np.add.at(expected, np.asarray(codes), weights)
    np.testing.assert_allclose(alone, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("codes", "perplexity", "used"),
    [([0, 1, 2, 3], 4.0, 4), ([2, 2, 2, 2], 1.0, 1), ([0, 0, 1, 1], 2.0, 2), ([0, 0, 0, 1], 4 / 27**0.25, 2)],
)
def test_usage_of_codes_in_closed_form(codes, perplexity, used):
    found = usage(jnp.array(codes).reshape(2, 2), 4)
    assert found[0] == pytest.approx(perplexity, rel=1e-5) and found[1] == used


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("autoencoder_kl", {"image_size": 512}, 83_653_863),  # Stable Diffusion's f8
        ("autoencoder_vq", {"image_size": 256}, 55_322_782),  # latent diffusion's f4, 8192 vectors of 3 numbers
        ("autoencoder_kl", dict(KL.options), 43_711),
    ],
)
def test_parameter_counts_to_the_last_one(name, options, count):
    assert Network.create(name, **{"num_channels": 3} | options).count() == count


def shapes(name: str, x=(1, 8, 8, 3), **options):
    """The network, what it encodes images of that shape in and decodes from it, and the shape of its latents."""
    network, found = Network.create(name, **TINY | options), []

    def both(variables):
        module = network.module(variables)
        found.append(module.latent_shape)
        encoded = module.encode(jnp.zeros(x))
        return encoded, module.decode(encoded[..., : module.embed_dim])

    return network, jax.eval_shape(both, network.abstract()), *found


@pytest.mark.parametrize(
    ("options", "factor", "channels"),
    [
        ({"ch_mult": (1, 2, 2, 4), "image_size": (24, 16), "attn_resolutions": (8, 2)}, 8, None),
        pytest.param({"ch_mult": (1,) * 6, "image_size": 32, "z_channels": 5, "embed_dim": 7}, 32, 7, marks=SLOW),
        ({"ch_mult": (), "channels": (8, 12), "mid_attention": False, "tanh_out": True}, 2, None),
        ({"quant_conv": False, "post_quant_conv": False, "z_channels": 6, "embed_dim": 6}, 2, 6),
    ],
)
def test_every_option_has_its_latent_shape(options, factor, channels):
    network, (encoded, x), latent_shape = shapes("autoencoder_kl", (1, 32, 64, 3), **options)
    channels = channels or 4
    assert encoded.shape == (1, 32 // factor, 64 // factor, 2 * channels) and x.shape == (1, 32, 64, 3)
    height, width = sides(options.get("image_size", 8))
    assert latent_shape == (height // factor, width // factor, channels)
    names = set(network.abstract()["params"])
    assert "decoder.conv_out.kernel" in names
    assert ("encoder.middle.1.query.kernel" in names) == options.get("mid_attention", True)
    assert ("quant_conv.kernel" in names) == options.get("quant_conv", True) == ("post_quant_conv.bias" in names)
    attends = {name.split(".attention")[0] for name in names if ".attention" in name}
    if "attn_resolutions" in options:  # 16, 8, 4, 2 are the shorter sides
        assert attends == {"encoder.down.1", "encoder.down.3", "decoder.up.0", "decoder.up.2"}
    else:
        assert not attends


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_it_takes_images_and_gives_images(name):
    _, (encoded, x), latent_shape = shapes(name)
    moments = 1 if name == "autoencoder_vq" else 2  # of a posterior mean and log variance
    assert encoded.shape == (1, *latent_shape[:2], moments * latent_shape[2]) and x.shape == (1, 8, 8, 3)


@pytest.mark.slow
def test_tanh_bounds_the_output_and_dropout_needs_keys():
    network = Network.create("autoencoder_kl", **TINY | {"tanh_out": True, "dropout": 0.5, "ch_mult": (1,)})
    leaves, structure = jax.tree.flatten(network.abstract())
    random = np.random.default_rng(0)
    variables = jax.tree.unflatten(structure, [random.normal(size=leaf.shape) for leaf in leaves])
    x = random.normal(size=(1, 8, 8, 3)).astype(np.float32).repeat(2, axis=0)
    keys = jax.random.split(jax.random.key(0), 2)
    without, dropped = compiled(lambda v, x, k: (network.apply(v, x, None), network.apply(v, x, None, keys=k)))(
        variables, x, keys
    )
    assert np.abs(without).max() <= 1.0 and np.abs(without).std() > 0.1
    np.testing.assert_allclose(without[0], without[1], atol=1e-4)
    assert np.abs(dropped[0] - dropped[1]).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ch_mult": (1, 2, 2, 2, 2)}, "image_size=8 cannot be halved 4 times, as ch_mult=.1, 2, 2, 2, 2. asks"),
        ({"quant_conv": False, "embed_dim": 5}, "z_channels=4 and embed_dim=5: only a quant_conv"),
        ({"centered": False}, "data in \\[-1, 1\\]: set data.centered=True"),
        ({"num_groups": 3}, "8 channels cannot be normalised in 3 equal groups"),
        ({"attn_resolutions": (5,)}, r"attn_resolutions \[5\] never occur"),
        ({"channels": (8, 8)}, "both say how wide"),
        ({"z_channels": 0}, "model.z_channels is 0"),
        ({"scaling_factor": -1.0}, "model.scaling_factor is -1.0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Network.create("autoencoder_kl", **TINY | options)
    assert "\n" not in str(error.value)


def test_wrong_arguments_are_named():
    for x, message in (((1, 9, 8, 3), "multiples of 2, received"), ((1, 8, 8, 4), "images of 3 channels")):
        with pytest.raises(ValueError, match=message):
            shapes("autoencoder_kl", x)
    network = Network.create("autoencoder_vq", **TINY)
    with pytest.raises(ValueError, match="latents of this autoencoder have 3 channels, received"):
        jax.eval_shape(lambda v: network.module(v).decode(jnp.zeros((1, 4, 4, 4)), quantize=False), network.abstract())
    with pytest.raises(ValueError, match="one key an example"):
        jax.eval_shape(lambda v: network.apply(v, jnp.zeros((2, 8, 8, 3)), keys=jax.random.key(0)), network.abstract())


def test_the_scaling_factor_alters_nothing():
    with_factor = Network.create("autoencoder_kl", **TINY | {"scaling_factor": 0.18215, "shift_factor": 0.1})
    assert with_factor.abstract() == Network.create("autoencoder_kl", **TINY).abstract()


DISCRIMINATORS = NETWORKS / "patch_discriminator"


@pytest.mark.parametrize("norm", ["batch", "act"])
def test_the_discriminator_is_that_of_taming_transformers(norm):
    """With running and with the batch's statistics, and what these become; initialised by data."""
    given, io = json.loads((DISCRIMINATORS / "config.json").read_text()), np.load(DISCRIMINATORS / "io.npz")
    options = {"num_channels": given["input_nc"], "nf": given["ndf"], "num_layers": given["n_layers"]}
    network = Network.create("patch_discriminator", norm=norm, **options)
    name = f"{norm}norm"
    saved, where = compvis.load(DISCRIMINATORS / f"{name}.safetensors"), compvis.places(network)
    variables = compvis.discriminator(network, saved, "the file")

    def both(variables, x):
        module = network.module(variables)
        of_batch = module.in_training if norm == "batch" else module.data_initialized
        return network.apply(variables, x), of_batch(x)

    evaluated, (trained, found) = compiled(both)(variables, nhwc(io["x"]))
    kind = "train" if norm == "batch" else "data_init"
    assert_close(evaluated, io[f"{name}/eval_output"][:, 0])
    assert_close(trained, io[f"{name}/{kind}_output"][:, 0])
    assert len(found) == 6 and (norm == "act" or found.keys() == variables["fixed"].keys())
    after = "after_train_step" if norm == "batch" else "after_data_init"
    for ours, value in found.items():
        assert_close(value, io[f"{name}/{after}/{where[ours].name}"].reshape(-1))
    if norm == "act":
        updated = variables | {"params": variables["params"] | found}
        assert_close(compiled(network.apply)(updated, nhwc(io["x"]), None), io[f"{name}/data_init_output"][:, 0])


def test_the_published_discriminator_has_its_parameters_and_its_reach():
    network = Network.create("patch_discriminator", num_channels=3)
    params = network.abstract()["params"]
    assert sum(leaf.size for leaf in params.values()) == 2_765_633
    logits = jax.eval_shape(network.apply, network.abstract(), jnp.zeros((1, 256, 256, 3)))
    assert logits.shape == (1, 30, 30)
    assert all("bias" not in name for name in params if name.startswith("convs.2"))
    acting = Network.create("patch_discriminator", num_channels=3, norm="act")
    assert "convs.2.bias" in acting.abstract()["params"] and not acting.abstract()["fixed"]


@pytest.mark.slow
def test_the_discriminators_first_weights_are_drawn_as_published():
    params = Network.create("patch_discriminator", num_channels=3).init(jax.random.key(0))["params"]
    kernel, scale = params["convs.3.kernel"], params["norms.2.scale"]
    for values, mean in ((kernel, 0.0), (scale, 1.0)):  # of 2 million and of 512 draws
        assert abs(values.mean() - mean) < 4 * 0.02 / values.size**0.5
        assert values.std() == pytest.approx(0.02, rel=4 / (2 * values.size) ** 0.5)


def test_what_the_discriminator_refuses():
    network = Network.create("patch_discriminator", num_channels=3, nf=4)
    with pytest.raises(ValueError, match="at least 24 pixels a side, received"):
        jax.eval_shape(network.apply, network.abstract(), jnp.zeros((1, 23, 32, 3)))
    assert jax.eval_shape(network.apply, network.abstract(), jnp.zeros((1, 24, 24, 3))).shape == (1, 1, 1)
    with pytest.raises(ValueError, match="only 'act' is initialised by data"):
        jax.eval_shape(lambda v: network.module(v).data_initialized(jnp.zeros((1, 32, 32, 3))), network.abstract())
    with pytest.raises(ValueError, match="unknown norm 'group'; known: act, batch"):
        Network.create("patch_discriminator", num_channels=3, norm="group")
