"""Stable Diffusion's runs, step by step: diffusers' schedulers from their json, guided by text, and CompVis' chains."""

import functools
import importlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
import samplers
import sde_lib
from checkpoints import diffusers_scheduler, diffusers_text_unet, importing
from models.functional import Network
from samplers.guidance import classifier_free
from samplers.schedulers import course

LATENT = Path(__file__).parents[1] / "reference" / "latent"
FOLDERS = ("sd_pipeline", "sd_pipeline_v")
RUNS = {folder: json.loads((LATENT / folder / "runs.json").read_text())["runs"] for folder in FOLDERS}
SCALE, KEY = 0.18215, jax.random.key(0)
QUICK = {("sd_pipeline_v", "ddim_zero_snr"), ("sd_pipeline_v", "euler_zero_snr")}
"""Zero terminal SNR both ways, rescaled guidance and a negative prompt, with one network; the rest is slow."""


def some(cases: list[tuple[str, str]]) -> list:
    return [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in cases]


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, -3, -1)


@functools.cache
def recorded(folder: str, file: str = "steps.npz") -> dict[str, np.ndarray]:
    return dict(np.load(LATENT / folder / file))


@functools.cache
def network(folder: str) -> Any:
    """(x, level, text) -> what the imported U-Net says, compiled once for all runs."""
    name, options = diffusers_text_unet.describe(LATENT / folder / "model")
    made = Network.create(name, **options)
    variables = importing.read(LATENT / folder / "model" / "unet", made).variables(ema=True)
    return jax.jit(lambda x, c, text: made.apply(variables, x, c, {"text": text}))


def guided(folder: str, run: dict, process: sde_lib.AffineSDE, prediction: str) -> sde_lib.PredictFn:
    """The U-Net's predictions along a scheduler's course, guided as the run is: only where the scale is above 1.

    The published batch is [without the prompt, with it], ours the other way round; no example sees its neighbours.
    """
    given, arguments = recorded(folder), run["args"]
    levels = sde_lib.NoiseLevels(process, 1000, exact=False)

    def model(x: jax.Array, t: jax.Array, text: jax.Array) -> sde_lib.Prediction:
        said = lambda x, c: network(folder)(x, c, text)  # noqa: E731
        return sde_lib.parameterization(prediction, "index").predict_fn(levels, said)(x, t)

    away = given["negative_prompt_embeds" if "negative_prompt" in arguments else "empty_prompt_embeds"]
    rescale = arguments.get("guidance_rescale", 0.0)
    scale = max(arguments["guidance_scale"], 1.0)
    return classifier_free(levels, model, given["prompt_embeds"], away, scale, rescale=rescale, output=prediction)


def stepped(stepper: samplers.Stepper, x: jax.Array, times: np.ndarray, draws: list[np.ndarray]) -> list[np.ndarray]:
    """The states after each row of the stepper's plan, with these draws as the noise of each."""
    rows, state, found = stepper.plan(times).rows, stepper.init(x), []
    left = iter(draws)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("samplers.linear", "inverse.replacement"):
            module = importlib.import_module(name)
            patch.setattr(module, "normal_like", lambda key, x: jnp.asarray(next(left)))
        for i in range(len(jax.tree.leaves(rows)[0])):
            row = jax.tree.map(lambda a, i=i: jnp.asarray(a[i], x.dtype), rows)
            state = stepper.step(KEY, state, *row)
            found.append(np.asarray(state.x))
    return found


def described(run: dict) -> diffusers_scheduler.Scheduler:
    return diffusers_scheduler.of_fields(run["scheduler_config"], Path("scheduler_config.json"), run["scheduler"])


@pytest.mark.parametrize(("folder", "name"), some([(folder, name) for folder, runs in RUNS.items() for name in runs]))
def test_every_step_of_a_pipeline_is_met(folder: str, name: str) -> None:
    """Latents after each call of the scheduler, within 1e-4 of the largest (of a sigma of 4096 within 1e-3)."""
    run, given = RUNS[folder][name], recorded(folder)
    arguments, draws = run["args"], [nhwc(given[f"{name}/noise_{i}"]) for i in range(5) if f"{name}/noise_{i}" in given]
    scheduler, n = described(run), run["args"]["num_inference_steps"]
    sde = sde_lib.create(**scheduler.sde)
    options = {"eta": arguments["eta"]} if "eta" in arguments else {}
    start, text = arguments.get("strength", 1.0), json.dumps(run["scheduler_config"])
    process, times, found = course(sde, run["scheduler"], text, n, start=start, **options)
    np.testing.assert_allclose(found.told, given[f"{name}/timesteps"], atol=1e-4)
    model = guided(folder, run, process, scheduler.prediction)
    stepper = found.solver(process, model)

    x, begun = found.start * nhwc(given["latents"]), (0.0, found.start)
    if "image" in arguments:
        clean = SCALE * nhwc(given["init_image_mean"] + given["init_image_std"] * np.moveaxis(draws[0], -1, 1))
        if "latents" not in arguments:
            settings = samplers.Settings(method=run["scheduler"], steps=n, scheduler_config=text)
            begun = inverse.noise_at_start(sde, settings, start)
            x = begun[0] * clean + begun[1] * draws[1]
        draws = []
    if "mask_image" in arguments:  # it is 1 where it is painted, and each latent is what its first pixel is
        measurement = inverse.mask(nhwc(given["mask"])[:, ::4, ::4] < 0.5)
        y = measurement.apply(jnp.asarray(clean))
        stepper = inverse.blend(stepper, process, model, measurement, y, begun=begun)

    x = jnp.asarray(x, jnp.float32)
    if f"{name}/model_input_0" in given:  # which is scaled as x is here
        theirs = nhwc(given[f"{name}/model_input_0"])
        np.testing.assert_allclose(np.concatenate([x, x]), theirs, atol=1e-5)
        texts = np.concatenate([given[f"{what}_prompt_embeds"] for what in ("empty",)] + [given["prompt_embeds"]])
        if "negative_prompt" in arguments:
            texts[: len(x)] = given["negative_prompt_embeds"]
        said = network(folder)(theirs, jnp.full(len(theirs), given[f"{name}/timesteps"][0]), texts)
        np.testing.assert_allclose(said, nhwc(given[f"{name}/model_output_0"]), atol=1e-4)

    states = stepped(stepper, x, times, draws)
    tolerance = 1e-3 if name == "euler_zero_snr" else 1e-4
    assert len(states) == len(given[f"{name}/latents"])
    for i, (ours, theirs) in enumerate(zip(states, nhwc(given[f"{name}/latents"]), strict=True)):
        of_ve = np.hypot(1.0, found.noise[i + 1]) if run["scheduler"].startswith("Euler") else 1.0
        np.testing.assert_allclose(of_ve * ours, theirs, rtol=0, atol=tolerance * run["max_abs_latent"], err_msg=str(i))


XL = json.loads((LATENT / "sdxl" / "pictures.json").read_text())["runs"]


@pytest.mark.slow
@pytest.mark.parametrize("name", XL)
def test_every_step_of_xl_s_pipeline_is_met(name: str) -> None:
    """Told both texts and the six numbers; without a negative prompt guidance leads away from zeros."""
    run, folder = XL[name], LATENT / "sdxl"
    steps, given = recorded("sdxl"), recorded("sdxl", "pictures.npz")
    kind, options = diffusers_text_unet.describe(folder / "model")
    made = Network.create(kind, **options)
    variables = importing.read(folder / "model" / "unet", made).variables(ema=True)
    apply = jax.jit(functools.partial(made.apply, variables))
    said = {"size": np.float32([run.get("told_size", (32, 32, 0, 0, 32, 32))] * 2)}
    asked, away = dict(said), dict(said)
    which = "negative" if run["negative_prompt"] else "zero_negative"
    for entry, theirs in (("text", "prompt_embeds"), ("pooled", "pooled_prompt_embeds")):
        asked[entry], away[entry] = given[f"{which}/{theirs}"], given[f"{which}/negative_{theirs}"]

    file = folder / "model" / "scheduler" / "scheduler_config.json"
    scheduler = diffusers_scheduler.of_fields(json.loads(file.read_text()), file, run["scheduler"])
    process, times, found = course(sde_lib.create(**scheduler.sde), run["scheduler"], file.read_text(), run["steps"])
    np.testing.assert_allclose(found.told, steps[f"{name}/timesteps"], atol=1e-4)
    levels = sde_lib.NoiseLevels(process, 1000, exact=False)

    def model(x: jax.Array, t: jax.Array, told: dict) -> sde_lib.Prediction:
        reads = sde_lib.parameterization(scheduler.prediction, "index")
        return reads.predict_fn(levels, lambda x, c: apply(x, c, told))(x, t)

    stepper = found.solver(process, classifier_free(levels, model, asked, away, run["guidance"]))
    states = stepped(stepper, jnp.asarray(found.start * nhwc(given["latents"]), jnp.float32), times, [])
    assert len(states) == len(steps[f"{name}/latents"]) == run["steps"]
    for i, (ours, theirs) in enumerate(zip(states, nhwc(steps[f"{name}/latents"]), strict=True)):
        of_ve = np.hypot(1.0, found.noise[i + 1]) if run["scheduler"].startswith("Euler") else 1.0
        np.testing.assert_allclose(of_ve * ours, theirs, rtol=0, atol=1e-4 * run["max_abs_latent"], err_msg=str(i))


@pytest.mark.slow
@pytest.mark.parametrize("original", ["sd_original", "sd_original_v"])
@pytest.mark.parametrize("chain", ["ddim", "ddim_mask", "img2img"])
def test_compvis_chains_are_met(original: str, chain: str) -> None:
    """CompVis' DDIM, its blending ahead of each step with fresh noise, and its start, a level noisier than it says."""
    folder = original.replace("original", "pipeline")
    run, given, theirs = RUNS[folder]["ddim"], recorded(folder), recorded(original, "chains.npz")
    scheduler = described(run)
    sde, text, n = sde_lib.create(**scheduler.sde), json.dumps(run["scheduler_config"]), 5
    clean, levels = jnp.asarray(nhwc(theirs["ddim_mask_x0"])), theirs["ddim_timesteps"]
    taken = int(theirs["img2img_t_enc"]) if chain == "img2img" else n
    process, times, found = course(sde, "DDIMScheduler", text, n, start=taken / n)
    np.testing.assert_array_equal(found.told, levels[:taken][::-1])
    model = guided(folder, run, process, scheduler.prediction)
    inner = stepper = found.solver(process, model)
    x, draws = nhwc(given["latents"]), nhwc(theirs["ddim_mask_noise"])
    alpha, sigma = (values[levels] for values in sde.levels(1000))
    if chain == "img2img":
        x = alpha[taken] * clean + sigma[taken] * nhwc(theirs["img2img_noise"])
        np.testing.assert_allclose(x, nhwc(theirs["img2img_encoded"]), atol=1e-5)
    if chain == "ddim_mask":
        measurement = inverse.mask(nhwc(theirs["ddim_mask"]) > 0.5)
        y = measurement.apply(clean)
        x = measurement.impose(jnp.asarray(x), alpha[-1] * y + sigma[-1] * draws[0])
        stepper = inverse.replacement(stepper, process, model, measurement, y)
    x = jnp.asarray(x, jnp.float32)
    if chain == "ddim_mask":  # no blending after the last step
        x = jnp.asarray(stepped(stepper, x, times, [*draws[1:], draws[0]])[-2])
        last = jax.tree.map(lambda a: jnp.asarray(a[-1], x.dtype), inner.plan(times).rows)
        final = inner.step(KEY, inner.init(x), *last).x
    else:
        final = stepped(stepper, x, times, [])[-1]
    expected = nhwc(theirs[f"{chain}_final"])
    np.testing.assert_allclose(final, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
