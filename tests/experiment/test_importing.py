"""--mode=import: a published file becomes a run that every other mode reads."""

import functools
import json
import pickle
import shutil
import zipfile

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
import sde_lib
from benchmarks import import_checkpoint
from checkpoints import safetensors_file, score_sde_torch, torch_file
from configs.diffusers import ddpm_cifar10_32
from configs.diffusers import folder as folder_config
from configs.edm import cifar10_uncond_vp
from configs.ve import cifar10_ncsnpp_continuous
from configs.vp import toy_mixture8_mlp
from evaluation import grid
from experiment import Refusal, Run
from experiment.build import build, network_of, of_run
from experiment.importing import read_weights
from experiment.scheduler import as_scheduler
from experiment.weights import load
from experiment.workdir import Workdir
from models.functional import Network
from tests import torch_writer
from tests.models.published_weights import REFERENCE, compiled
from tests.models.test_published import assert_close, nhwc

FILE = REFERENCE / "models" / "ve_ncsnpp_cont.pth"
DIFFUSERS = REFERENCE.parent / "networks" / "ddpm_unet"
SNAPSHOT = REFERENCE.parent / "torch_files" / "edm_ddpmpp.pkl"
JAX_FILE = REFERENCE / "jax" / "ve_ncsnpp_cont" / "checkpoint_24"


def config(size: int = 16, **model) -> ConfigDict:
    """The published CIFAR-10 config at the size of the recorded networks."""
    config = cifar10_ncsnpp_continuous.get_config()
    config.data.image_size = size
    config.model.update({"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (size // 2,)} | model)
    return config


@pytest.mark.parametrize(
    ("file", "size", "step"), [(FILE, 16, 400), pytest.param(JAX_FILE, 8, 1_200_000, marks=pytest.mark.slow)]
)
def test_an_imported_run_gives_the_published_output(file, size, step, tmp_path, capsys):
    imported, workdir = config(size), Workdir(tmp_path / "run")
    main.run("import", imported, str(workdir.path), str(file))
    assert f"step {step} " in capsys.readouterr().out
    workdir.check(imported, training=False)
    of_torch = file.suffix == ".pth"
    arrays = dict(np.load(file.with_suffix(".npz") if of_torch else file.parent / "io.npz"))
    order = nhwc if of_torch else np.asarray
    fitting = network_of(imported)
    apply = compiled(fitting.apply)
    for ema in (True, False) if of_torch else (True,):  # in the JAX file the raw weights have frequencies of their own
        with workdir.store(read_only=True) as store:
            found, variables = load(store, fitting, ema=ema, step=None)
        assert found == step
        out = apply(variables, order(arrays["x"]), arrays["labels"])
        assert_close(out, order(arrays["out_ema" if ema else "out_raw"]), 5e-5)


def test_the_origin_is_kept_and_importing_again_changes_nothing(tmp_path):
    path = tmp_path / "run"
    for _ in range(2):
        main.run("import", config(), str(path), str(FILE))
    with Workdir(path).store(read_only=True) as store:
        _, _, metadata = store.restore()
    assert metadata["imported"]["file"] == FILE.name and len(metadata["imported"]["sha256"]) == 64
    with pytest.raises(Refusal, match=r"already holds checkpoints of steps \[400\]"):
        main.run("import", config(), str(path), str(JAX_FILE))
    with pytest.raises(Refusal, match="another config"):
        main.run("import", config(num_res_blocks=2), str(path), str(FILE))


@pytest.mark.parametrize("file", [FILE, JAX_FILE])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_res_blocks": 2}, ["not in the file"]),
        ({"ch_mult": (1, 2, 2)}, ["not in the file"]),
        ({"ch_mult": (1,), "attn_resolutions": ()}, ["left over in the file"]),
        ({"nf": 16}, ["another shape", "conv_in.kernel", "(3, 3, 3, 8)", "(3, 3, 3, 16)"]),
        ({"attn_resolutions": ()}, ["left over in the file"]),
        ({"embedding_type": "positional", "scale_by_sigma": False}, ["left over in the file"]),
    ],
)
def test_what_does_not_fit_is_listed(file, options, named, tmp_path):
    with pytest.raises(Refusal) as refusal:
        main.run("import", config(**options), str(tmp_path / "run"), str(file))
    line = str(refusal.value)
    assert "\n" not in line and str(file) in line and "choose the config" in line
    for name in named:
        assert name in line
    assert not (tmp_path / "run").exists()


class Calls:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_file_that_would_run_code_is_one_line(tmp_path, capsys):
    path = tmp_path / "bad.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad/data.pkl", pickle.dumps({"model": Calls()}, protocol=2))
    with pytest.raises(Refusal, match=r"bad\.pth was refused, nothing in it was run: it names __builtin__\.print"):
        main.run("import", config(), str(tmp_path / "run"), str(path))
    assert capsys.readouterr().out == "" and not (tmp_path / "run").exists()


@pytest.mark.parametrize("file", [None, "absent.pth"])
def test_a_missing_file_is_one_line(file, tmp_path):
    with pytest.raises(Refusal, match=r"--checkpoint|No such file"):
        main.run("import", config(), str(tmp_path / "run"), file and str(tmp_path / file))


@pytest.mark.parametrize(
    "tree",
    [
        {"model": {"module.all_modules.0.W": np.zeros(2, np.float32)}, "ema": {}, "step": 0},
        {"model": {"a": 1}, "ema": {"shadow_params": [1]}, "step": 0},
        {"model": {}, "ema": {"shadow_params": 3}, "step": 0},
        {"model": [], "ema": {}, "step": 0},
        {"weights": np.zeros(2, np.float32)},
        [1, 2],
    ],
)
def test_a_file_of_another_layout_is_one_line(tree, tmp_path):
    path = tmp_path / "x.pth"
    torch_writer.save(path, tree)
    with pytest.raises(Refusal, match=r"x\.pth"):
        main.run("import", config(), str(tmp_path / "run"), str(path))
    assert not (tmp_path / "run").exists()


def test_an_imported_run_is_sampled_without_its_data_wherever_that_will_lie(tmp_path, monkeypatch, capsys):
    imported, workdir = config(), Workdir(tmp_path / "run")
    imported.data.data_dir = str(tmp_path / "nowhere")
    main.run("import", imported, str(workdir.path), str(FILE))
    imported.data.data_dir = str(tmp_path / "elsewhere")
    monkeypatch.setattr(Run, "sampler", lambda self: lambda key, n: n)
    monkeypatch.setattr(grid, "save_grid", lambda experiment, workdir, step, drawn: f"drawn {step}")
    main.run("sample", imported, str(workdir.path))
    assert "drawn 400" in capsys.readouterr().out
    with pytest.raises(Refusal, match="is not prepared"):
        main.run("evaluate", imported, str(workdir.path))
    imported.data.dataset = "tfds:svhn_cropped"
    with pytest.raises(Refusal, match=r"data\.dataset"):
        main.run("sample", imported, str(workdir.path))


def test_averages_that_do_not_fit_are_named():
    saved = torch_file.load(FILE)
    saved["ema"]["shadow_params"] = saved["ema"]["shadow_params"][:-1]
    with pytest.raises(ValueError, match="averaged parameters beside"):
        score_sde_torch.split(saved, "x.pth")
    saved = torch_file.load(FILE)
    saved["ema"]["shadow_params"].reverse()
    with pytest.raises(ValueError, match=r"the average of module\.all_modules\.1\.weight"):
        score_sde_torch.split(saved, "x.pth")


def test_reading_needs_no_data_set(tmp_path):
    weights = read_weights(config(), FILE)
    abstract = network_of(config()).abstract()
    shapes = jax.tree.map(np.shape, {"params": weights.ema, "fixed": weights.fixed})
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, abstract)


def test_a_diffusers_folder_goes_in_and_out(tmp_path, capsys):
    """Imported and exported: the same tensors under the same names, and a config.json that is read again."""
    config = ddpm_config()
    main.run("import", config, str(tmp_path / "run"), str(DIFFUSERS))
    main.run("export", config, str(tmp_path / "run"))
    folder = tmp_path / "run" / "diffusers_step_0"
    assert str(folder) in capsys.readouterr().out
    name = "diffusion_pytorch_model.safetensors"
    there, back = (safetensors_file.load(path / name) for path in (DIFFUSERS, folder))
    assert there.keys() == back.keys()
    for key, value in there.items():
        np.testing.assert_array_equal(back[key], value)
    main.run("import", config, str(tmp_path / "again"), str(folder))
    with pytest.raises(Refusal, match="nothing is overwritten"):
        main.run("export", config, str(tmp_path / "run"))


def described(folder, scheduler: dict | None = None, **network):
    """The recorded network as a folder of a pipeline: unet/, scheduler/ and model_index.json."""
    shutil.copytree(DIFFUSERS, folder / "unet")
    fields = json.loads((DIFFUSERS / "config.json").read_text()) | network
    (folder / "unet" / "config.json").write_text(json.dumps(fields))
    index = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", "DDPMScheduler"]}))
    if scheduler is not None:
        (folder / "scheduler").mkdir()
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


def test_the_network_of_a_pipeline_of_latents_is_no_model_of_pictures(tmp_path):
    folder = described(tmp_path / "model", {"_class_name": "DDPMScheduler"})
    (folder / "vqvae").mkdir()
    (folder / "vqvae" / "config.json").write_text("{}")
    with pytest.raises(Refusal, match=r"latents of .*vqvae, and data\.codec is 'levels'; take"):
        main.run("import", ddpm_config(), str(tmp_path / "run"), str(folder))
    index = {"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"works on latents: write --config=configs/latent/folder\.py:.*model$"):
        folder_config.get_config(str(folder))
    index = {"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(Refusal, match="with text_encoder beside unet and scheduler; its network is told a text"):
        main.run("import", ddpm_config(), str(tmp_path / "run"), str(folder))


def ddpm_config() -> ConfigDict:
    """The published config at the size of the recorded network: eps, linear betas, 1000 levels."""
    config = ddpm_cifar10_32.get_config()
    config.data.image_size = 16
    config.model.update(nf=8, ch_mult=(1, 1, 2), num_res_blocks=1, attn_resolutions=(8,), dropout=0.0)
    with config.unlocked():
        config.model.num_groups = 4
    return config


COSINE = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": 400,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
}


def test_the_noise_scales_beside_the_weights_are_compared(tmp_path):
    other = config()
    other.sde.sigma_max = 348.0
    with pytest.raises(Refusal, match=r"ve_ncsnpp_cont\.pth, which holds sigma_max 50, here sde\.sigma_max 348\.0"):
        main.run("import", other, str(tmp_path / "run"), str(FILE))


def test_a_folder_of_ncsnpp_gives_its_range_of_sigma(tmp_path):
    shutil.copytree(REFERENCE.parent / "networks" / "ncsnpp_widths", tmp_path / "model")
    scheduler = {"_class_name": "ScoreSdeVeScheduler", "sigma_max": 380, "num_train_timesteps": 500, "snr": 0.075}
    (tmp_path / "model" / "scheduler_config.json").write_text(json.dumps(scheduler))
    config = folder_config.get_config(str(tmp_path / "model"))
    assert (config.sde.sigma_max, config.sampling.steps, config.sampling.snr) == (380.0, 500, 0.075)
    assert (config.model.prediction, config.data.centered, config.model.channels) == ("score", False, (8, 12, 20))
    read_weights(config, tmp_path / "model")
    assert as_scheduler(config).items() >= scheduler.items()
    config.sde.sigma_max = 50.0
    with pytest.raises(ValueError, match=r"sigma_max 380, here sde\.sigma_max 50\.0"):
        read_weights(config, tmp_path / "model")


def test_a_scheduler_that_contradicts_the_config_is_listed_whole(tmp_path):
    folder = described(tmp_path / "model", COSINE)
    with pytest.raises(Refusal) as refusal:
        main.run("import", ddpm_config(), str(tmp_path / "run"), str(folder))
    line = str(refusal.value)
    for part in (
        "scheduler_config.json",
        "prediction_type 'v_prediction', here model.prediction 'eps'",
        "num_train_timesteps 400, here model.num_scales 1000",
        "num_train_timesteps 400, here sde.n 1000",
        "beta_schedule 'squaredcos_cap_v2', here sde.schedule 'linear'",
        "configs/diffusers/folder.py",
    ):
        assert part in line
    assert "\n" not in line and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"beta_end": 0.03}, r"beta_end 0\.03, here sde\.beta_max 20\.0, a beta_end of 0\.02"),
        ({"beta_start": 0.0002}, r"beta_start 0\.0002, here sde\.beta_min 0\.1"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule 'sigmoid', here sde.schedule 'linear'"),
        ({"trained_betas": [0.01] * 1000}, "trained_betas, here sde.schedule 'linear'"),
        ({"prediction_type": "sample"}, "prediction_type 'sample', here model.prediction 'eps'"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True and prediction_type 'epsilon'"),
        (
            {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
            "rescale_betas_zero_snr True, here sde.zero_snr False",
        ),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "_class_name is 'FlowMatchEulerDiscreteScheduler'"),
        ({"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVeScheduler, here sde.name 'discrete'"),
        ({"num_train_timesteps": "many"}, "num_train_timesteps is 'many'; it must be a whole number"),
    ],
)
def test_every_part_of_the_noise_is_compared(scheduler, message, tmp_path):
    folder = described(tmp_path / "model", {"_class_name": "DDPMScheduler"} | scheduler)
    with pytest.raises(Refusal, match=message):
        main.run("import", ddpm_config(), str(tmp_path / "run"), str(folder / "unet"))


def test_the_same_noise_in_other_words_is_taken_and_other_sampling_is_told(tmp_path, caplog):
    linear = {"_class_name": "DDIMScheduler", "clip_sample": True, "beta_start": 1e-4, "beta_end": 0.02}
    folder = described(tmp_path / "model", linear)
    config = ddpm_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "vp", "t_min": 1e-5})  # whose published chain of 1000 levels is the same
    read_weights(config, folder)
    assert "clip_sample True, thresholding False, here sampling.threshold 'none'" in caplog.text


def test_a_run_keeps_the_scheduler_of_its_folder_and_samples_as_others_built_from_it(tmp_path):
    """Whether the config was read from the folder or not; a class that would take another noise is refused."""
    written = {"_class_name": "DDPMScheduler", "clip_sample": False, "beta_schedule": "linear"}
    folder, config = described(tmp_path / "model", written), ddpm_config()
    main.run("import", config, str(tmp_path / "run"), str(folder))
    saved = Workdir(tmp_path / "run").config()
    assert json.loads(saved.sampling.scheduler_config) == written
    assert folder_config.get_config(str(folder)).sampling.scheduler_config == saved.sampling.scheduler_config
    config.sampling.update(scheduler="DPMSolverMultistepScheduler", steps=5)
    main.prepare("sample", config, str(tmp_path / "run"))  # which has no scheduler of its own
    experiment = of_run(config, Workdir(tmp_path / "run"))
    assert experiment.settings.method == "DPMSolverMultistepScheduler" and experiment.settings.steps == 5
    assert experiment.config.eval.samplers == ("DPMSolverMultistepScheduler",)
    config.sampling.scheduler = "HeunDiscreteScheduler"
    with pytest.raises(Refusal, match=r"HeunDiscreteScheduler, as diffusers builds .* beta_start 0\.00085, here sde"):
        main.prepare("sample", config, str(tmp_path / "run"))
    with pytest.raises(ValueError, match="DDIMScheduler is built from the scheduler_config"):
        config.sampling.scheduler = "DDIMScheduler"
        build(config, needs_data=False)


@pytest.mark.slow
def test_a_folder_that_describes_itself_is_its_own_config(tmp_path):
    """Its predictions are those of the recorded network, read as v of the cosine chain of 400 levels."""
    folder = described(tmp_path / "model", COSINE)
    config = folder_config.get_config(str(folder))
    main.run("import", config, str(tmp_path / "run"), str(folder))
    experiment = build(config, needs_data=False)
    assert experiment.num_scales == 400 and experiment.settings.steps == 400 and experiment.settings.threshold == "clip"
    with Workdir(tmp_path / "run").store(read_only=True) as store:
        _, variables = load(store, experiment.network, ema=True, step=None)
    with np.load(DIFFUSERS / "io.npz") as file:
        x, index, v = nhwc(file["sample"]), file["timestep"], nhwc(file["output"])
    keep = index < 400
    x, index, v = x[keep], index[keep], v[keep]
    betas = np.load(REFERENCE.parent / "schedulers" / "betas.npz")["squaredcos_cap_v2"].astype(np.float64)
    alpha_bar = np.cumprod(1 - betas)[index][:, None, None, None]
    eps = np.sqrt(1 - alpha_bar) * x + np.sqrt(alpha_bar) * v
    found = -np.sqrt(1 - alpha_bar) * compiled(experiment.predict_fn(variables, chain=True).score)(
        x, ((index + 1) / 400).astype(np.float32)
    )
    assert keep.sum() >= 2
    np.testing.assert_allclose(found, eps, atol=2e-4)


def test_an_export_describes_itself(tmp_path):
    """Network and scheduler go out, and come in again as the same config."""
    folder = described(tmp_path / "model", COSINE)
    config = folder_config.get_config(str(folder))
    main.run("import", config, str(tmp_path / "run"), str(folder))
    main.run("export", config, str(tmp_path / "run"))
    again = folder_config.get_config(str(tmp_path / "run" / "diffusers_step_0"))
    assert again.to_dict() == config.to_dict()


def damage(folder, name: str, text: str | None):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("unet/config.json", None, "there is no config.json"),
        ("unet/config.json", '{"_class_name": "UNet', "config.json is damaged"),
        ("unet/config.json", "[]", "config.json holds a list"),
        ("unet/config.json", '{"_class_name": "UNet2DModel"}', "config.json: .*block_out_channels is None"),
        ("scheduler/scheduler_config.json", None, "there is no scheduler_config.json"),
        ("scheduler/scheduler_config.json", "\0", "scheduler_config.json is damaged"),
        ("scheduler/scheduler_config.json", "{}", "scheduler_config.json: _class_name is None"),
        ("scheduler/scheduler_config.json", '{"_class_name": "ScoreSdeVeScheduler"}', "do not belong together"),
        ("model_index.json", '{"_class_name": "LDMPipeline", "vqvae": ["d", "VQModel"]}', "LDMPipeline', with vqvae"),
    ],
)
def test_a_folder_that_cannot_be_a_config_is_one_line(name, text, message, tmp_path):
    folder = described(tmp_path / "model", COSINE)
    damage(folder, name, text)
    with pytest.raises((ValueError, OSError), match=message) as error:
        folder_config.get_config(str(folder))
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_an_edm_snapshot_denoises_as_recorded(tmp_path):
    """A .pkl of PyTorch, through --mode=import and the config's own score: D(x; sigma) = x + sigma^2 score."""
    config = cifar10_uncond_vp.get_config()
    config.data.image_size = 16
    config.model.update(nf=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), dropout=0.1)
    main.run("import", config, str(tmp_path / "run"), str(SNAPSHOT))
    assert json.loads((tmp_path / "run" / "inputs.json").read_text()) == {"files": {}}  # the data are not known
    with Workdir(tmp_path / "run").store(read_only=True) as store:
        _, variables = load(store, network_of(config), ema=True, step=None)
    sde = sde_lib.create(**config.sde)
    apply, model = functools.partial(network_of(config).apply, variables), config.model
    score = (
        sde_lib.parameterization(model.prediction, model.noise_label, model.preconditioning)
        .predict_fn(sde, apply)
        .score
    )
    with np.load(REFERENCE.parent / "networks" / "edm_ddpmpp" / "io.npz") as file:
        x, sigma, expected = nhwc(file["x"]), file["sigma"], nhwc(file["EDMPrecond/denoised"])
    t = sigma / 80  # where EDM's process has these sigmas
    inside = t <= 1
    assert inside.sum() >= 2
    wide = sigma[:, None, None, None]
    denoised = x + wide**2 * np.asarray(compiled(score)(x, t.astype(np.float32)))
    error = np.abs(denoised - expected).max((1, 2, 3)) / np.maximum(1, sigma)
    assert error[inside].max() < 1e-4
    with pytest.raises(Refusal, match="augment_dim"):
        config.model.augment_dim = 0
        main.run("import", config, str(tmp_path / "other"), str(SNAPSHOT))


def test_training_goes_on_from_an_import(tmp_path):
    """With a fresh optimiser, from the step of the file; then from checkpoints of its own."""
    smaller = toy_config()
    workdir = Workdir(tmp_path / "run")
    trained = Network.create("mlp", shape=(2,), width=8, depth=1).init(jax.random.key(3))
    tree = {"step": np.int32(4), "params": trained["params"], "ema": trained["params"], "fixed": trained["fixed"]}
    with workdir.store() as store:
        store.save(4, tree, {"imported": {"file": "x"}})
    workdir.begin(smaller)
    main.run("train", smaller, str(workdir.path))
    with workdir.store(read_only=True) as store:
        assert store.steps() == [4, 5, 6]
        first, saved = store.restore(step=5)[1], store.metadata(6)
    assert "imported" not in saved and first["opt_state"]
    moved = [np.abs(first["params"][name] - value).max() for name, value in trained["params"].items()]
    assert 0 < max(moved) < 0.01, "one small step from the imported weights"


def toy_config() -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=6, eval_freq=0, log_freq=1, snapshot_freq=6, snapshot_sampling=False)
    config.training.update(snapshot_freq_for_preemption=1)
    config.optim.warmup = 0
    return config


@pytest.mark.slow
def test_importing_takes_less_than_three_times_the_file(tmp_path):
    """62.76 M parameters, raw and averaged; the largest resident memory of the process, libraries with it."""
    path = tmp_path / "checkpoint.pth"
    assert import_checkpoint.write_checkpoint(path) == 62_758_915
    assert import_checkpoint.imported(path, tmp_path / "run") < 3 * path.stat().st_size
