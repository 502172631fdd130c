"""A folder of diffusers' LDMPipeline becomes two runs, and samples as that program does."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from checkpoints import diffusers_pipeline, safetensors_file
from configs.latent import folder as folder_config
from experiment import Refusal, load
from experiment.fields import override
from experiment.sampling import guided
from experiment.workdir import Workdir

REFERENCE = Path(__file__).parents[1] / "reference" / "latent" / "ldm_uncond"
FOLDER = REFERENCE / "model"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, -3, -1)


def recorded(name: str) -> dict[str, np.ndarray]:
    """The arrays of a run of diffusers."""
    arrays = np.load(REFERENCE / "runs.npz")
    return {key.partition("/")[2]: arrays[key] for key in arrays.files if key.startswith(f"{name}/")}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "ldm"
    main.run("import", folder_config.get_config(str(FOLDER)), str(workdir), str(FOLDER))
    return workdir


@pytest.mark.slow
def test_everything_is_read_from_the_folder(imported: Path) -> None:
    """Pictures have twice the size of the latents, the scale is the autoencoder's own, the noise the scheduler's."""
    run = load(imported)
    config = run.config
    assert config.data.codec == str(imported / "codec") and (imported / "codec" / "config.json").exists()
    assert (config.data.image_size, run.codec.shape, run.codec.scale, run.codec.shift) == (16, (8, 8, 3), 1.0, 0.0)
    assert config.sde.to_dict() == {
        "name": "discrete",
        "schedule": "sqrt_linear",
        "n": 1000,
        "beta_min": 1.5,
        "beta_max": 19.5,
    }
    assert (config.model.name, config.model.head_channels, config.sampling.threshold) == ("guided_unet", 4, "none")
    written = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
    assert json.loads(config.sampling.scheduler_config) == written
    assert Workdir(imported / "codec").config().model.name == "autoencoder_vq"
    digest = json.loads((imported / "inputs.json").read_text())["files"]["data.codec"]
    assert digest == run.codec.about()["autoencoder"]["weights"], "so that another one is refused"


@pytest.mark.slow
def test_the_config_of_the_folder_goes_on_with_the_run_and_importing_again_changes_nothing(imported: Path) -> None:
    given = folder_config.get_config(str(FOLDER))
    assert given.data.codec == ""
    main.prepare("sample", given, str(imported))
    before = (imported / "config.json").read_bytes()
    main.run("import", given, str(imported), str(FOLDER))
    assert (imported / "config.json").read_bytes() == before


@pytest.mark.slow
def test_an_export_is_the_pipeline_again(imported: Path, tmp_path: Path) -> None:
    """The same tensors and the same json fields, whatever is written beside them."""
    main.run("export", load(imported).config, str(imported))
    folder = imported / "diffusers_step_0"
    for part in ("unet", "vqvae"):
        there, back = (safetensors_file.load(root / part / WEIGHTS) for root in (FOLDER, folder))
        assert there.keys() == back.keys()
        for name, array in there.items():
            np.testing.assert_array_equal(back[name], array, err_msg=name)
    assert json.loads((folder / "model_index.json").read_text())["vqvae"] == ["diffusers", "VQModel"]
    again, config = (folder_config.get_config(str(root)) for root in (folder, FOLDER))
    assert again.to_dict() == config.to_dict()
    with pytest.raises(ValueError, match=r"data\.latent_shift 0\.1; diffusers' pipelines scale"):
        diffusers_pipeline.scaled(load(imported).experiment.codec.autoencoder.network, 1.0, 0.1)


def test_what_does_not_belong_together_is_named(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "model")
    config = folder_config.get_config(str(tmp_path / "model"))
    fields = json.loads((FOLDER / "vqvae" / "config.json").read_text())
    (tmp_path / "model" / "vqvae" / "config.json").write_text(json.dumps(fields | {"vq_embed_dim": 4}))
    with pytest.raises(ValueError, match=r"the network takes 3 channels, and .*vqvae has latents of 4"):
        folder_config.get_config(str(tmp_path / "model"))
    (tmp_path / "model" / "vqvae" / "config.json").write_text(json.dumps(fields))
    scaled = override(config, [("data.latent_scale", "0.5")])
    with pytest.raises(Refusal, match=r"not that of .*vqvae: scaling_factor 1\.0, here data\.latent_scale 0\.5"):
        main.run("import", scaled, str(tmp_path / "scaled"), str(tmp_path / "model"))
    shutil.rmtree(tmp_path / "model" / "vqvae")
    with pytest.raises(ValueError, match=r"has no autoencoder \(vae/ or vqvae/\) beside its network"):
        folder_config.get_config(str(tmp_path / "model"))
    with pytest.raises(Refusal, match=r"which stands for the autoencoder of a pipeline, and .*model holds none"):
        main.run("import", config, str(tmp_path / "run"), str(tmp_path / "model"))


def recorded_noise(key: Any, draws: np.ndarray) -> Any:
    """What a sampler with this key draws in step i is draws[i]."""
    keys = jax.random.key_data(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(draws))))

    def normal_like(own: Any, x: Any) -> Any:
        return jnp.tensordot(jnp.all(jax.random.key_data(own) == keys, axis=-1).astype(x.dtype), jnp.asarray(draws), 1)

    return normal_like


@pytest.mark.slow
@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim_eta", 1.0)])
def test_it_samples_as_diffusers_does(
    name: str, eta: float, imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same latents step by step, the same codes, and the same pictures, from the same noise."""
    theirs, key = recorded(name), jax.random.key(0)
    latents, start = nhwc(theirs["latents"]), nhwc(theirs["initial_noise"])
    if eta:
        draws = np.stack([nhwc(theirs[f"step_noise_{i}"]) for i in range(len(latents))])
        monkeypatch.setattr(importlib.import_module("samplers.linear"), "normal_like", recorded_noise(key, draws))
    np.save(tmp_path / "start.npy", start)
    chosen = {"scheduler": "DDIMScheduler", "steps": len(latents), "eta": eta, "keep_latents": True}
    chosen["start"] = str(tmp_path / "start.npy")
    changes = [(f"sampling.{field}", str(value)) for field, value in chosen.items()]
    main.run("sample", main.config_of(None, str(imported), changes), str(imported))
    drawn = np.load(imported / "samples" / "DDIMScheduler_step_0_seed_0.npz")
    tolerance = 1e-4 * np.abs(latents).max()
    np.testing.assert_allclose(drawn["latents"], latents[-1], atol=tolerance, rtol=0)
    assert np.abs(drawn["samples"] / 255.0 - theirs["image"]).max() < 0.5 / 255 + 2e-4, "levels are rounded"
    run = load(imported, sampling=chosen)
    settings = run.experiment.settings_of(run.experiment.settings.method)
    predict = guided(run.experiment, run.variables, settings, run.sde, None)
    sampler = samplers.create(run.sde, predict, settings, trajectory=True)
    path = jax.jit(sampler)(key, jnp.asarray(start)).trajectory
    assert path is not None
    np.testing.assert_allclose(path[1:], latents, atol=tolerance, rtol=0)
    pictures = np.clip(np.asarray(run.codec.reconstruct(drawn["latents"])) / 2 + 0.5, 0.0, 1.0)
    np.testing.assert_allclose(pictures, theirs["image"], atol=2e-4, rtol=0)
    codec = load_codec(imported / "codec")
    np.testing.assert_array_equal(codec.quantize(jnp.asarray(drawn["latents"]))[1], theirs["codes"])


def load_codec(folder: Path) -> Any:
    """The module of an imported autoencoder."""
    from experiment.build import network_of
    from experiment.weights import load as load_weights

    network = network_of(Workdir(folder).config())
    with Workdir(folder).store(read_only=True) as store:
        return network.module(load_weights(store, network, ema=True, step=None)[1])
