"""Stable Diffusion's recorded edits through --mode=edit: image to image, inpainting by blending, and by 9 channels."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import main
from autoencoders import Latents
from autoencoders.posterior import Posterior
from checkpoints import safetensors_file
from configs.stable_diffusion import folder as folder_config
from editing.tasks import inputs
from editing.telling import told_of
from experiment import load
from experiment.build import of_run
from experiment.workdir import Workdir

LATENT = Path(__file__).parents[1] / "reference" / "latent"
PART = "diffusion_pytorch_model.safetensors"


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, -3, -1)


def run_of(folder: Path, workdir: Path) -> Path:
    main.run("import", folder_config.get_config(str(folder)), str(workdir), str(folder))
    return workdir


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = ("sd_pipeline", "sd_pipeline_v")
    return {name: run_of(LATENT / name / "model", tmp_path_factory.mktemp(name) / "run") for name in names}


def drawn_as(parts: int, draws: np.ndarray, fallback: Any) -> Any:
    """Noise for keys of --mode=edit: draws[i] for that of picture i, which is one of two if `parts` is one of these."""
    keys = [jax.random.split(jax.random.fold_in(jax.random.key(0), i))[parts] for i in range(len(draws))]
    known = jax.random.key_data(jnp.stack(keys))

    def normal_like(own: Any, x: Any) -> Any:
        found = jnp.all(jax.random.key_data(own) == known, axis=-1).astype(x.dtype)
        return jnp.tensordot(found, jnp.asarray(draws), 1)[None]

    return normal_like


def edit(workdir: Path, sampling: dict[str, Any], edit: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of an edit by the command."""
    changes = [(f"sampling.{name}", str(value)) for name, value in sampling.items()]
    changes += [(f"edit.{name}", str(value)) for name, value in edit.items()]
    main.run("edit", main.config_of(None, str(workdir), changes), str(workdir))
    (file,) = (workdir / "edits").glob("*.npz")
    found = dict(np.load(file))
    file.unlink()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("sd_pipeline", "img2img_ddim"),
        ("sd_pipeline", "img2img_dpm"),
        ("sd_pipeline", "img2img_euler"),
        ("sd_pipeline", "inpaint_ddim"),
        ("sd_pipeline", "inpaint_ddim_strength"),
        ("sd_pipeline_v", "img2img_ddim"),
    ],
)
def test_an_edit_is_the_pipeline_s(
    name: str, run: str, imported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pictures, each with its prompt, from the recorded noise: the latents of the pipeline's end within 1e-4.

    The recorded pictures have no whole levels, and their latents are drawn from the posterior, where the mode takes its
    mean: both are put in the place of what it reads. Of a mask each latent is what its first pixel is.
    """
    said = json.loads((LATENT / name / "runs.json").read_text())["runs"][run]
    given = np.load(LATENT / name / "steps.npz")
    arguments, pictures = said["args"], nhwc(np.load(LATENT / name / "edits.npz")["init_image"])
    draws = [nhwc(given[f"{run}/noise_{i}"]) for i in range(2)]

    def of_pictures(codec: Latents, y: np.ndarray) -> np.ndarray:
        posterior = Posterior.of_moments(jnp.asarray(codec.autoencoder.encode(y)))
        return np.asarray(codec.scale * (posterior.mean + posterior.std * draws[0]))

    monkeypatch.setattr("editing.pictures.given", lambda *args, **options: pictures)
    monkeypatch.setattr(Latents, "of_pictures", of_pictures)
    for module in ("inverse.vary", "editing.steps"):
        monkeypatch.setattr(importlib.import_module(module), "normal_like", drawn_as(0, draws[1], None))
    monkeypatch.setattr(
        "samplers.visited.Visited.prior_sample",
        lambda self, key, shape: self.prior_std * drawn_as(0, nhwc(given["latents"]), None)(key, jnp.zeros(shape)),
    )
    (tmp_path / "prompts").write_text("\n".join(arguments["prompt"]))
    sampling = {"prompt": f"@{tmp_path / 'prompts'}", "scheduler": said["scheduler"], "keep_latents": True}
    sampling |= {"steps": arguments["num_inference_steps"], "height": 32, "width": 48}
    sampling["scheduler_config"] = json.dumps(said["scheduler_config"])
    if "negative_prompt" in arguments:
        (tmp_path / "negative").write_text("\n".join(arguments["negative_prompt"]))
        sampling["negative_prompt"] = f"@{tmp_path / 'negative'}"
    chosen = {"task": "vary", "strength": arguments["strength"], "count": 1, "image": "given"}
    if "mask_image" in arguments:
        (tmp_path / "masks").mkdir()
        for i, mask in enumerate(given["mask"][:, 0, ::4, ::4]):
            known = np.uint8(255 * (mask < 0.5)).repeat(4, axis=0).repeat(4, axis=1)
            Image.fromarray(known).save(tmp_path / "masks" / f"{i}.png")
        chosen |= {"task": "inpaint", "inpaint_strength": arguments["strength"], "mask": str(tmp_path / "masks")}
    found = edit(imported[name], sampling, chosen)
    expected = nhwc(given[f"{run}/latents"][-1])
    np.testing.assert_allclose(found["latents"][:, 0], expected, atol=1e-4 * said["max_abs_latent"], rtol=0)
    if "mask_image" in arguments:  # those of the picture, to the level
        known = (given["mask"][:, 0, ::4, ::4] < 0.5).repeat(4, axis=1).repeat(4, axis=2)
        levels = np.floor(pictures * 255 + 0.5)
        np.testing.assert_array_equal(found["results"][:, 0][known], levels[known])


@pytest.mark.slow
def test_a_network_of_nine_channels_is_told_mask_and_picture_beside_x(tmp_path: Path) -> None:
    """With no weight on the five it draws what the network of four does, led by nothing; with some it heeds them."""
    rng, found = np.random.default_rng(0), {}
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
    for name, weight in (("four", None), ("blind", 0.0), ("nine", 0.3)):
        folder = tmp_path / name / "model"
        shutil.copytree(LATENT / "sd_pipeline" / "model", folder)
        if weight is not None:
            config = json.loads((folder / "unet" / "config.json").read_text()) | {"in_channels": 9}
            (folder / "unet" / "config.json").write_text(json.dumps(config))
            arrays = {key: np.array(a) for key, a in safetensors_file.load(folder / "unet" / PART).items()}
            more = weight * rng.standard_normal((8, 5, 3, 3))
            arrays["conv_in.weight"] = np.concatenate([arrays["conv_in.weight"], more.astype(np.float16)], axis=1)
            safetensors_file.save(folder / "unet" / PART, arrays)
        workdir = run_of(folder, tmp_path / name / "run")
        sampling = {"prompt": "a small cat", "scheduler": "DDIMScheduler", "steps": 3, "keep_latents": True}
        chosen = {"task": "inpaint", "mask": "left", "count": 2, "image": str(tmp_path / "pictures")}
        if weight is None:
            run = load(workdir, sampling=sampling)
            begun = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))[0]
            start = jax.random.normal(begun, (2, *run.codec.shape))
            found[name] = run.sampler()(jax.random.key(1), start).latents
            continue
        drawn = edit(workdir, sampling, chosen)
        found[name] = drawn["latents"]
        assert str(drawn["task"]) == "inpaint by told"
        left = np.stack([np.asarray(Image.open(tmp_path / "pictures" / f"{i}.png"))[:, :16] for i in range(2)])
        np.testing.assert_array_equal(drawn["results"][:, :, :, :16], np.repeat(left[:, None], 2, axis=1))
    np.testing.assert_allclose(found["blind"][0], found["four"], atol=1e-3)
    assert np.abs(found["nine"] - found["blind"]).max() > 0.1

    config = main.config_of(None, str(workdir), [("edit.mask", "left"), ("edit.image", str(tmp_path / "pictures"))])
    experiment = of_run(config, Workdir(workdir))
    read = inputs(experiment, config.edit)
    beside = told_of(experiment, read, 1)["beside"]
    np.testing.assert_array_equal(beside[0, ..., 0], np.repeat([[0.0] * 4 + [1.0] * 4], 8, axis=0))
    hidden = np.array(read.pictures[1:])
    hidden[:, :, 16:] = 0.0
    np.testing.assert_allclose(beside[..., 1:], experiment.codec.of_pictures(hidden), atol=1e-5)
