"""GLIDE's chains, step by step: guided by text or CLIP, inpainting and the upsampler, ancestral and by DDIM."""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
import samplers
import sde_lib
from checkpoints import glide_clip, importing
from models.functional import Network, Variables
from samplers import grids
from samplers.guidance import classifier_free
from samplers.threshold import thresholded
from tests.models.glide_weights import network, nhwc, variables
from tests.oracles import compiled

REFERENCE = Path(__file__).parents[1] / "reference"
CLIP_FOLDER = REFERENCE / "glide_clip"
CHAIN = dict(np.load(REFERENCE / "glide" / "chain.npz"))
TEXT = {"tokens": CHAIN["chain/tokens"].astype(np.int32), "mask": CHAIN["chain/mask"]}
NONE = TEXT | {"mask": np.zeros_like(TEXT["mask"])}
KNOWN = {"known_image": nhwc(CHAIN["inpaint/image"]), "known_mask": nhwc(CHAIN["inpaint/mask"])}
LOW = {"low_res": nhwc(CHAIN["up/low_res"])}
ANCESTRAL, DDIM = {"variance": "learned_range"}, {}
CASES = {  # network, schedule, what it is told beside the text, scale of guidance, sampler
    "base_cfg": ("", "cosine", {}, 3.0, ANCESTRAL),
    "base_cfg_ddim": ("", "cosine", {}, 3.0, DDIM),
    "base_noguidance": ("", "cosine", {}, 1.0, ANCESTRAL),
    "inpaint_cfg": ("inpaint", "cosine", KNOWN, 5.0, ANCESTRAL),
    "up_ddim": ("superres", "linear", LOW, 1.0, DDIM),
    "up_ancestral": ("superres", "linear", LOW, 1.0, ANCESTRAL),
    "up_inpaint": ("superres_inpaint", "linear", LOW | KNOWN, 1.0, ANCESTRAL),
    "clip_guided": ("", "cosine", {}, 1.0, ANCESTRAL),
    "clip_guided_ddim": ("", "cosine", {}, 1.0, DDIM),
}


@functools.cache
def clip() -> tuple[Network, Variables]:
    name, options = glide_clip.describe(CLIP_FOLDER, text_heads=2, image_heads=2)
    built = Network.create(name, **options)
    return built, importing.read(CLIP_FOLDER, built).variables(ema=True)


def log_prob(levels: sde_lib.NoiseLevels, x: jax.Array, t: jax.Array) -> jax.Array:
    """How well CLIP finds that the noised images fit their texts, told the index of the level."""
    built, numbers = clip()
    module = built.module(jax.tree.map(lambda array: jnp.asarray(array, x.dtype), numbers))
    text = module.encode_text(jnp.asarray(CHAIN["clip/tokens"], jnp.int32))
    index = levels.sde.level_index(t, levels.n).astype(x.dtype)
    return module.agreement(module.encode_image(x, index), text)


def followed(case: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The states behind each step of the chain of 5 levels of 1000, and the denoised images that led there."""
    variant, schedule, beside, scale, options = CASES[case]
    sde, weights = sde_lib.create("discrete", schedule=schedule), jax.tree.map(cast(dtype), variables(variant))
    levels = sde_lib.NoiseLevels(sde, 1000, exact=True)
    times = np.append(grids.create(sde, "5", 4, 1e-3, chain=1000), 0.0)

    def predict(weights: dict) -> sde_lib.PredictFn:
        def told(x, t, text):
            run = lambda x, c: network(variant).apply(weights, x, c, text)  # noqa: E731
            return sde_lib.Plain("eps", "index").predict_fn(levels, run)(x, t)

        beside_all = {name: jnp.asarray(entry, dtype) for name, entry in beside.items()}
        model = classifier_free(levels, told, TEXT | beside_all, NONE | beside_all, scale)
        if "known_mask" in beside:
            mask = inverse.mask(beside["known_mask"] > 0.5)
            model = inverse.consistent(levels, model, mask, beside_all["known_image"])
        model = thresholded(levels, model, "clip")
        if case == "clip_guided_ddim":
            return samplers.classifier_guided(levels, model, functools.partial(log_prob, levels), 3.0)
        return model

    guided = case == "clip_guided"
    guide = samplers.classifier_guide(levels, functools.partial(log_prob, levels), 3.0) if guided else None

    def stepper(model: sde_lib.PredictFn) -> samplers.Stepper:
        return samplers.ancestral(sde, model, **options, guide=guide) if options else samplers.ddim(sde, model)

    @compiled
    def step(weights, state, row, z):
        model, seen = predict(weights), []

        def watched(x, t):
            seen.append(model(x, t))
            return seen[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.import_module("samplers.ancestral"), "normal_like", lambda key, x: z)
            after = stepper(sde_lib.PredictFn(levels, watched)).step(jax.random.key(0), state, *row)
        return after, seen[0].x0

    made, draws = stepper(lambda x, t: x), nhwc_all(CHAIN["chain/noise"]).astype(dtype)
    state = made.init(jnp.asarray(draws[0] * (0.997 if case.startswith("up") else 1.0)))
    states, denoised = [], []
    for i, z in enumerate(draws[1:]):
        row = jax.tree.map(lambda a, i=i: jnp.asarray(a[i], dtype), made.plan(times).rows)
        state, x0 = step(weights, state, row, z)
        states.append(np.asarray(state.x))
        denoised.append(np.asarray(x0))
    return np.stack(states), np.stack(denoised)


def cast(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array.astype(dtype)


def nhwc_all(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -3, -1)


def compare(case: str, dtype: str, tolerance: float) -> None:
    states, denoised = followed(case, dtype)
    wanted, x0 = (nhwc_all(CHAIN[f"{case}/{name}"]) for name in ("x", "pred_xstart"))
    for found, expected in ((denoised, x0), (states, wanted)):
        # Those of clip_guided_ddim reach 10^5, and are compared with the largest of their step.
        size = np.abs(expected).max((1, 2, 3, 4), keepdims=True) if case == "clip_guided_ddim" else 1.0
        np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_step_is_glides(case: str, x64) -> None:
    """To the rounding of the recorded float32; CLIP's softmax is in float32 itself."""
    compare(case, "float64", 2e-4 if case.startswith("clip") else 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["base_cfg", "inpaint_cfg", "clip_guided"])
def test_float32_keeps_the_digits_of_a_step_whose_scale_is_small(case: str) -> None:
    """The first step is from alpha 5e-5 to 0.38; a CLIP's gradient adds no more than 6e-5."""
    compare(case, "float32", 2e-4)
