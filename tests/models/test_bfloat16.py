"""Networks that compute in bfloat16: what stays in float32, and how far the output is from that of float32."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from models import CATEGORICAL, MATCHERS, MODELS, TEXT_ENCODERS
from models.convolution import MANY, convolve
from models.functional import Network
from tests.models.published_weights import compiled

SIZES = {"image_size": 8, "num_channels": 3}
UNET = SIZES | {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,), "label_dim": 3}
TEXT = {"head_channels": 16, "vocabulary": 6, "tokens": 3, "text_width": 8, "text_layers": 2, "text_heads": 2}
TOKENS = SIZES | {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "depths": (0, 1), "num_heads": (2,), "text_dim": 6}
TOKENS |= {"pooled_dim": 5, "size_features": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "ncsnpp": UNET | {"progressive_input": "residual", "embedding_type": "fourier", "fir": True},
    "ddpm": UNET,
    "edm_unet": UNET | {"augment_dim": 9},
    "adm": UNET | {"head_channels": 16, "augment_dim": 9},
    "guided_unet": UNET,
    "glide": {name: UNET[name] for name in UNET if name != "label_dim"} | TEXT,
    "cross_attention_unet": TOKENS,
    "noisy_classifier": UNET | {"head_channels": 16},
    "ncsn": SIZES | {"nf": 8, "num_scales": 4},
    "ncsnv2_64": SIZES | {"nf": 8, "num_scales": 4, "sigma_min": 0.1, "sigma_max": 1.0},
    "ncsnv2_128": SIZES | {"nf": 8, "scale_by_sigma": False},
    "ncsnv2_256": SIZES | {"nf": 8, "scale_by_sigma": False},
    "mlp": {"shape": (8, 8, 3), "width": 64, "depth": 2, "label_dim": 3},
    "autoencoder_kl": SIZES | {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1},
    "autoencoder_vq": SIZES | {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "num_codes": 4},
    "vae": SIZES | {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "scale": "predicted"},
    "patch_discriminator": {"num_channels": 3, "nf": 8, "num_layers": 1},
    "categorical_unet": UNET | {"num_categories": 5, "masked": True},
    "sequence_transformer": {"shape": (8, 8, 3), "num_categories": 5, "masked": True, "width": 32, "depth": 2}
    | {"label_dim": 3, "time_features": 16},
    "unet_1d": {"shape": (16, 3), "nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "label_dim": 3, "wrap": True},
    "unet_3d": {"shape": (1, 8, 8, 3), "nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "label_dim": 3},
    "point_transformer": {"shape": (8, 2), "width": 32, "depth": 2, "time_features": 16, "label_dim": 3},
}
UNTOLD = ("ncsn", "ncsnv2_64", "ncsnv2_128", "ncsnv2_256", "autoencoder_kl", "autoencoder_vq", "vae")
UNTOLD += ("patch_discriminator",)
"""Those that have no embedding of a noise."""

X, C_NOISE = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
STATISTICS = {"exp", "rsqrt", "reduce_sum", "reduce_max", "log", "sin", "cos"}
"""What softmax, norms and embeddings are made of, and nothing else but the means of a halving, in float32 as well."""


def x_of(name: str) -> jax.ShapeDtypeStruct:
    """What the network takes: images, or examples of the shape that it is built for; of categories as whole numbers."""
    shape = (X.shape[0], *OPTIONS[name].get("shape", X.shape[1:]))
    return jax.ShapeDtypeStruct(shape, jnp.int32 if name in CATEGORICAL else jnp.float32)


def network(name: str, dtype: str | None) -> Network:
    return Network.create(name, **OPTIONS[name], dtype=dtype)


def condition_of(name: str) -> dict[str, jax.Array] | None:
    if name == "glide":
        return {"tokens": jnp.arange(6).reshape(2, 3), "mask": jnp.arange(6).reshape(2, 3) < 4}
    if name == "cross_attention_unet":
        sizes = {"text": (3, 6), "pooled": (5,), "size": (6,)}
        return {entry: jnp.linspace(0, 1, 2 * math.prod(size)).reshape(2, *size) for entry, size in sizes.items()}
    sizes = {"label": 3} if "label_dim" in OPTIONS[name] and name != "noisy_classifier" else {}
    sizes |= {"augment": 9} if "augment_dim" in OPTIONS[name] else {}
    return {entry: jnp.linspace(0, 1, 2 * size).reshape(2, size) for entry, size in sizes.items()} or None


def steps(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every primitive of a program, those of the functions inside it too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            if isinstance(value, ClosedJaxpr | Jaxpr):
                yield from steps(value.jaxpr if isinstance(value, ClosedJaxpr) else value)


def program(name: str) -> list[JaxprEqn]:
    coarse = network(name, "bfloat16")
    traced = jax.make_jaxpr(coarse.apply)(coarse.abstract(), x_of(name), C_NOISE, condition_of(name))
    return list(steps(traced.jaxpr))


def dtypes(equation: JaxprEqn) -> set[str]:
    return {str(v.aval.dtype) for v in equation.invars if jnp.issubdtype(v.aval.dtype, jnp.floating)}


def some(*quick: str) -> list:
    """The networks, of which those that are not named are slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in OPTIONS]


def test_every_network_of_images_is_here() -> None:
    assert set(OPTIONS) == set(MODELS) - {*TEXT_ENCODERS, *MATCHERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", some("ncsnpp", "mlp"))
def test_parameters_their_gradient_and_the_output_are_float32(name: str) -> None:
    coarse = network(name, "bfloat16")
    variables = coarse.abstract()
    assert variables == network(name, None).abstract()
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}

    def loss(params: dict, fixed: dict, x: jax.Array, c_noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = coarse.apply({"params": params, "fixed": fixed}, x, c_noise)
        return jnp.sum(out), out

    gradient, out = jax.eval_shape(
        jax.grad(loss, has_aux=True), variables["params"], variables["fixed"], x_of(name), C_NOISE
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((gradient, out))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", some("ncsnpp", "adm", "ncsn"))
def test_softmax_statistics_of_norms_and_embeddings_are_float32(name: str) -> None:
    found = [step for step in program(name) if step.primitive.name in STATISTICS]
    assert found
    assert {(step.primitive.name, *dtypes(step)) for step in found if dtypes(step) - {"float32"}} == set()


@pytest.mark.parametrize("name", some("ncsnpp", "adm", "ncsn"))
def test_the_time_path_is_float32_and_all_other_products_are_bfloat16(name: str) -> None:
    """Products of two matrices with one row an example are those of the time path, but for what has no places.

    Of these an MLP has two at its ends and two a block, and a classifier's pool has two. The distances that choose
    codes are float32 too.
    """
    own = {"mlp": 2 + 2 * 2, "noisy_classifier": 2}.get(name, 0)
    products = [step for step in program(name) if step.primitive.name in ("dot_general", "conv_general_dilated")]
    shapes = [[variable.aval.shape for variable in step.invars] for step in products]
    of_examples = [len(left) == len(right) == 2 and left[0] == 2 for left, right in shapes]
    found = [dtypes(step) for step, each in zip(products, of_examples, strict=True) if each]
    assert found.count({"bfloat16"}) == own
    assert (found.count({"float32"}) > 0) == (name not in UNTOLD)
    assert len(found) == found.count({"bfloat16"}) + found.count({"float32"})
    others = [dtypes(step) for step, each in zip(products, of_examples, strict=True) if not each]
    assert others.count({"float32"}) == (name == "autoencoder_vq")
    assert all(each in ({"bfloat16"}, {"float32"}) for each in others) and (others or name == "mlp")


@pytest.mark.parametrize("name", some("ncsnpp", "mlp"))
def test_the_output_is_that_of_float32_to_roundings_of_bfloat16(name: str) -> None:
    """Some tens of roundings in a row, of 2^-9 each: a few percent of the output's own size at the very most."""
    exact, random = network(name, None), np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(exact.abstract())
    drawn = [random.normal(size=leaf.shape) / max(1.0, np.sqrt(np.prod(leaf.shape[:-1]))) for leaf in leaves]
    variables = jax.tree.unflatten(structure, [value.astype(np.float32) for value in drawn])
    positive = {entry: np.abs(value) for entry, value in variables["fixed"].items() if entry.endswith("variance")}
    variables["fixed"] |= positive
    x, c_noise = random.normal(size=x_of(name).shape).astype(np.float32), np.array([0.5, 2.0], np.float32)
    x = random.integers(0, 6, x.shape).astype(np.int32) if name in CATEGORICAL else x
    fine, coarse = (
        np.asarray(compiled(each.apply)(variables, x, c_noise, condition_of(name)))
        for each in (exact, network(name, "bfloat16"))
    )
    error = np.sqrt(np.mean((coarse - fine) ** 2) / np.var(fine))
    print(name, error)
    assert 2**-12 < error < 2**-4


@pytest.mark.parametrize("b, h, w, d", [(2, 6, 5, 8), (1, 3, 3, 64)])
def test_a_convolution_sums_in_float32_and_rounds_once(b: int, h: int, w: int, d: int) -> None:
    """Many channels are nine products, and few pixels one of their patches; XLA's is of the same numbers in float32."""
    random, numbers = np.random.default_rng(0), ("NHWC", "HWIO", "NHWC")
    x = jnp.asarray(random.standard_normal((b, h, w, MANY)), jnp.bfloat16)
    kernel = jnp.asarray(random.standard_normal((3, 3, MANY, d)), jnp.bfloat16)

    def xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)

    exact, pull = jax.vjp(xla, x.astype(jnp.float32), kernel.astype(jnp.float32))
    found, pull_half = jax.vjp(convolve, x, kernel)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)
    ct = jnp.cos(exact).astype(jnp.bfloat16)
    for coarse, fine in zip(pull_half(ct), pull(ct.astype(jnp.float32)), strict=True):
        scale = float(jnp.abs(fine).max())
        np.testing.assert_allclose(coarse.astype(jnp.float32), fine, rtol=0, atol=0.02 * scale)
