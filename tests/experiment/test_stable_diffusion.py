"""Stable Diffusion 1, 2 and XL from prompt to picture: folders and single files become runs that draw as theirs do."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from checkpoints import (
    compvis,
    compvis_unet,
    diffusers,
    diffusers_autoencoder,
    diffusers_text_unet,
    safetensors_file,
    stable_diffusion_file,
    text_encoder,
)
from checkpoints.layout import effective_options, spill
from configs.stable_diffusion import file as file_config
from configs.stable_diffusion import folder as folder_config
from experiment import Refusal, load, rules
from experiment.config_files import from_file
from experiment.fields import override
from experiment.text_encoder import of_folder
from models.functional import Network

REFERENCE = Path(__file__).parents[1] / "reference" / "latent"
NAMES = ("sd_pipeline", "sd_pipeline_v", "sdxl")


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, -3, -1)


def runs_of(name: str) -> dict[str, Any]:
    """The recorded runs of a folder, in this project's words."""
    folder = REFERENCE / name
    if name == "sdxl":
        facts = json.loads((folder / "pictures.json").read_text())
        return {run: {"prompts": facts["prompts"], **said} for run, said in facts["runs"].items()}
    found = {}
    for run, said in json.loads((folder / "runs.json").read_text())["runs"].items():
        given = said["args"]
        if said["pipeline"] == "StableDiffusionPipeline" and not given.get("eta") and not said["noise_calls"]:
            found[run] = {
                "prompts": given["prompt"],
                "negative_prompt": given.get("negative_prompt", []),
                "scheduler": said["scheduler"],
                "steps": given["num_inference_steps"],
                "guidance": given["guidance_scale"],
                "guidance_rescale": given.get("guidance_rescale", 0.0),
                "scheduler_config": said["scheduler_config"],
            }
    return found


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(name of a recorded folder) -> the run that it was imported as; the folder is there no more.

    With a run, the folder's scheduler is the one of that run.
    """
    runs: dict[str, Path] = {}

    def of(folder_name: str, changed: dict | None = None) -> Path:
        name = folder_name + (changed["scheduler"] if changed else "")
        if name not in runs:
            folder, runs[name] = (tmp_path_factory.mktemp(name) / part for part in ("model", "run"))
            shutil.copytree(REFERENCE / folder_name / "model", folder)
            if changed:
                written = {"_class_name": changed["scheduler"], **changed["scheduler_config"]}
                (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(written))
            config = from_file(f"configs/stable_diffusion/folder.py:{folder}")
            main.run("import", config, str(runs[name]), str(folder))
            shutil.rmtree(folder)
        return runs[name]

    return of


CASES = [(name, run) for name in NAMES for run in runs_of(name)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "run"), CASES, ids=[f"{name}-{run}" for name, run in CASES])
def test_a_prompt_becomes_the_picture_of_the_pipeline(name: str, run: str, imported: Any, tmp_path: Path) -> None:
    """By --mode=sample: each picture to the level, each number of the latents that the sampler ends with."""
    said, folder = runs_of(name)[run], REFERENCE / name
    workdir = imported(name, said if "zero_snr" in run else None)
    of_steps = folder / ("pictures.npz" if name == "sdxl" else "steps.npz")
    recorded, pictures = np.load(of_steps), np.load(folder / "pictures.npz")
    np.save(tmp_path / "start.npy", nhwc(recorded["latents"]))
    for field in ("prompts", "negative_prompt"):
        (tmp_path / field).write_text("\n".join(said[field]) + "\n")
    height, width = (8 * side // 2 for side in recorded["latents"].shape[2:])
    chosen = {name: said[name] for name in ("scheduler", "steps", "guidance", "guidance_rescale") if name in said} | {
        "prompt": f"@{tmp_path / 'prompts'}",
        "start": str(tmp_path / "start.npy"),
        "keep_latents": True,
        "height": height,
        "width": width,
    }
    chosen |= {"negative_prompt": f"@{tmp_path / 'negative_prompt'}"} if said["negative_prompt"] else {}
    chosen |= {"told_size": tuple(said["told_size"])} if "told_size" in said else {}
    chosen |= {"scheduler_config": json.dumps(said["scheduler_config"])} if "scheduler_config" in said else {}
    changes = [(f"sampling.{field}", str(value)) for field, value in chosen.items()]
    main.run("sample", main.config_of(None, str(workdir), changes), str(workdir))
    (file,) = (workdir / "samples").glob("*.npz")
    drawn = dict(np.load(file))
    shutil.rmtree(workdir / "samples")
    expected = recorded[f"{run}/latents"]
    expected = nhwc(expected if name == "sdxl" else expected[-1])
    largest = max(np.abs(recorded[f"{run}/latents"]).max(), np.abs(expected).max())
    looser = 10.0 if run == "euler_zero_snr" else 1.0  # whose sigma reaches 4096
    np.testing.assert_allclose(drawn["latents"], expected, atol=1e-4 * looser * largest, rtol=0)
    assert list(drawn["texts"]) == said["prompts"] and drawn["samples"].shape == (2, height, width, 3)
    if f"{run}/image" in pictures:
        picture = pictures[f"{run}/image"]
        assert np.abs(drawn["samples"] / 255.0 - picture).max() < 0.5 / 255 + 2e-4, "levels are rounded"
        codec = load(workdir, sampling={"height": height, "width": width}).codec
        decoded = np.clip(np.asarray(codec.reconstruct(drawn["latents"])) / 2 + 0.5, 0.0, 1.0)
        np.testing.assert_allclose(decoded, picture, atol=2e-4, rtol=0)


FILES = {"sd_original": ("sd1.ckpt", "sd_pipeline"), "sd_original_v": ("sd2.safetensors", "sd_pipeline_v")}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups and heads of the recorded networks, whose code had its constants changed as well."""
    for constant, value in (("GROUPS", 4), ("HEADS", 2), ("HEAD", 4)):
        monkeypatch.setattr(stable_diffusion_file, constant, value)
    monkeypatch.setattr(text_encoder, "HEAD", 8)


def from_single_file(name: str, workdir: Path, **changes: str) -> None:
    """Import a recorded file by a copy that is there no more."""
    file, folder = workdir.with_suffix(Path(FILES[name][0]).suffix), REFERENCE / FILES[name][1] / "model"
    shutil.copyfile(REFERENCE / name / FILES[name][0], file)
    given = {"data.tokenizer": f"clip:{folder / 'tokenizer'}", "data.image_size": "32", **changes}
    config = override(file_config.get_config(str(file)), list(given.items()))
    try:
        main.run("import", config, str(workdir), str(file))
    finally:
        file.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_single_file_draws_as_its_own_code_does(name: str, narrow: None, tmp_path: Path) -> None:
    """By our DDIM and by diffusers', with the raw weights, which the recorded chain had."""
    workdir, folder = tmp_path / "run", REFERENCE / FILES[name][1]
    from_single_file(name, workdir)
    recorded, start = np.load(REFERENCE / name / "pictures.npz"), np.load(folder / "steps.npz")["latents"]
    prompts = json.loads((folder / "runs.json").read_text())["runs"]["ddim"]["args"]["prompt"]
    said = of_folder("data.text_encoder", str(workdir / "text")).read(prompts)["text"]
    np.testing.assert_array_less(np.abs(said - recorded["text"]), 3e-5 * np.maximum(1.0, np.abs(recorded["text"])))
    np.save(tmp_path / "start.npy", nhwc(start))
    (tmp_path / "prompts").write_text("\n".join(prompts) + "\n")
    chosen = {"sampling.start": tmp_path / "start.npy", "sampling.prompt": f"@{tmp_path / 'prompts'}"}
    chosen |= {"sampling.width": 48, "sampling.keep_latents": True, "eval.ema": False}
    expected = nhwc(recorded["ddim_final"])
    for steps in ({"sampling.evaluations": 5}, {"sampling.scheduler": "DDIMScheduler", "sampling.steps": 5}):
        changes = [(field, str(value)) for field, value in {**chosen, **steps}.items()]
        main.run("sample", main.config_of(None, str(workdir), changes), str(workdir))
        (file,) = (workdir / "samples").glob("*.npz")
        drawn = np.load(file)["latents"]
        np.testing.assert_allclose(drawn, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
        shutil.rmtree(workdir / "samples")
    run = load(workdir, sampling={"width": 48, "prompt": "a fox"})
    moments = run.experiment.codec.autoencoder.encode(nhwc(recorded["x"]))  # type: ignore[union-attr]
    theirs = nhwc(recorded["moments"])
    np.testing.assert_array_less(np.abs(moments - theirs), 3e-5 * np.maximum(1.0, np.abs(theirs)))
    if name == "sd_original":  # which holds averaged weights too, and those are drawn with unless asked otherwise
        raw = load(workdir, ema=False).variables["params"]
        assert any(not np.array_equal(raw[key], value) for key, value in run.variables["params"].items())


PUBLISHED: dict[str, dict[str, Any]] = {
    "1": {},
    "2": {"num_heads": (5, 10, 20, 20), "text_dim": 1024, "linear_projections": True},
    "XL": {
        **{"ch_mult": (1, 2, 4), "depths": (0, 2, 10), "middle_depth": 10, "num_heads": (5, 10, 20)},
        **{"text_dim": 2048, "pooled_dim": 1280, "linear_projections": True},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("family", PUBLISHED)
@pytest.mark.parametrize("image_channels", [0, 5])
def test_published_networks_are_known_by_the_shapes_of_their_tensors(family: str, image_channels: int) -> None:
    given = {"image_size": 64, "num_channels": 4, "image_channels": image_channels, **PUBLISHED[family]}
    network = Network.create("cross_attention_unet", **given)
    shapes, of_autoencoder = (
        {},
        Network.create(
            "autoencoder_kl",
            **{"image_size": 512, "num_channels": 3, "nf": 128, "ch_mult": (1, 2, 4, 4), "num_res_blocks": 2},
            **{"attn_resolutions": (), "z_channels": 4, "embed_dim": 4, "num_groups": 32},
        ),
    )
    for made, places, prefix in (
        (network, compvis_unet.places(network), ""),
        (of_autoencoder, compvis.places(of_autoencoder), compvis.FIRST_STAGE),
    ):
        for named in made.abstract().values():
            shapes |= {prefix + places[key].name: places[key].shape(key, array.shape) for key, array in named.items()}
    whole = stable_diffusion_file.of_shapes(shapes, "a file")
    assert whole.family.name == family
    found = Network.create("cross_attention_unet", image_size=64, **whole.unet)
    assert effective_options(found) == effective_options(network)
    scale = whole.autoencoder.pop("scaling_factor")
    found = Network.create("autoencoder_kl", image_size=512, **whole.autoencoder)
    assert effective_options(found) == effective_options(of_autoencoder) and scale == whole.family.scale


def test_a_file_that_holds_no_whole_stable_diffusion_is_refused_in_one_line(tmp_path: Path) -> None:
    safetensors_file.save(tmp_path / "part.safetensors", {"model.diffusion_model.out.2.bias": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"is no whole Stable Diffusion .*: input_blocks\.0\.0\.weight is missing$"):
        file_config.get_config(str(tmp_path / "part.safetensors"))


@pytest.mark.slow
def test_what_a_single_file_does_not_hold_must_be_named(narrow: None, tmp_path: Path) -> None:
    for tokenizer, message in (
        ("", r"no table of byte pairs; name the folder"),
        ("clip:" + str(tmp_path), r"no table"),
    ):
        with pytest.raises(Refusal, match=message):
            from_single_file("sd_original", tmp_path / "run", **{"data.tokenizer": tokenizer})
    config = file_config.get_config(f"{REFERENCE / 'sd_original_v' / 'sd2.safetensors'},epsilon")
    assert config.model.prediction == "eps" and config.data.image_size == 768
    assert (config.sampling.count, config.edit.count) == (4, 1)
    with pytest.raises(ValueError, match=r"prediction_type is 'noise'"):
        file_config.get_config(f"{REFERENCE / 'sd_original_v' / 'sd2.safetensors'},noise")


def test_a_folder_describes_itself() -> None:
    """Network, noise, prediction and guidance; pictures of the size that U-Net and autoencoder say."""
    for name, text, prediction, guidance in (
        ("sd_pipeline", 24, "eps", 7.5),
        ("sd_pipeline_v", 32, "v", 7.5),
        ("sdxl", 32, "eps", 5.0),
    ):
        config = folder_config.get_config(str(REFERENCE / name / "model"))
        assert (config.model.text_dim, config.model.prediction, config.sampling.guidance) == (
            text,
            prediction,
            guidance,
        )
        assert (config.data.image_size, config.data.codec, config.data.text_encoder) == (32, "", "")
        assert (config.sampling.count, config.edit.count, config.eval.batch_size) == (4, 1, 4), "pictures of 512 pixels"
        noise = {"schedule": "sqrt_linear", "n": 1000, "beta_min": 0.85, "beta_max": 12.0}
        assert config.sde.to_dict() == {"name": "discrete", **noise}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("scheduler", r"lacks scheduler/, without which"),
        ("vae", r"lacks vae/, without which"),
        ("text_encoder_2", r"lacks text_encoder_2/, which its model_index\.json names"),
        ("tokenizer", r"text_encoder is a text encoder without its tokenizer"),
        ("unet", r"no UNet2DConditionModel"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_in_one_line(part: str, message: str, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "sdxl" / "model", tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / part)
    with pytest.raises((ValueError, OSError), match=message) as refused:
        folder_config.get_config(str(tmp_path / "model"))
    assert "\n" not in str(refused.value)


def test_a_text_encoder_of_another_width_is_refused(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "sd_pipeline" / "model", tmp_path / "model")
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(tmp_path / "model" / part)
        shutil.copytree(REFERENCE / "sd_pipeline_v" / "model" / part, tmp_path / "model" / part)
    with pytest.raises(
        ValueError, match=r"is told 24 features of a text \(text_dim\), and the text encoders .* make 32"
    ):
        folder_config.get_config(str(tmp_path / "model"))


def test_a_file_for_a_folder_and_the_reverse_name_the_config_that_reads_it() -> None:
    file, folder = REFERENCE / "sd_original_v" / "sd2.safetensors", REFERENCE / "sd_pipeline" / "model"
    with pytest.raises(ValueError, match=r"is a file.*configs/stable_diffusion/file\.py:FILE reads it"):
        folder_config.get_config(str(file))
    with pytest.raises(ValueError, match=r"model is a folder.*configs/stable_diffusion/folder\.py:FOLDER reads it"):
        file_config.get_config(str(folder))


def test_an_edit_without_pictures_asks_for_them() -> None:
    """Not for the training set of a run that was imported."""
    config = folder_config.get_config(str(REFERENCE / "sd_pipeline" / "model"))
    (message,) = rules.of_images(config, "edit")
    assert "give edit.image a picture, or a folder of pictures" in message
    assert not list(rules.of_images(override(config, [("edit.image", "fox.png")]), "edit"))


def test_a_file_that_is_cut_short_is_said_to_be(tmp_path: Path) -> None:
    """Whichever tensor is the first to lack numbers; weights are fetched in pieces, and the last may be missing."""
    whole = (REFERENCE / "sd_pipeline" / "model" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.safetensors is cut short: .* fetch it again$"):
        safetensors_file.load(tmp_path / "cut.safetensors")


def test_other_configs_name_the_one_for_a_pipeline_that_is_told_texts() -> None:
    with pytest.raises(ValueError, match=r"write --config=configs/stable_diffusion/folder\.py:.*model$"):
        diffusers.describe(REFERENCE / "sd_pipeline" / "model", latents=True)


@pytest.mark.slow
def test_an_imported_run_is_whole_and_another_import_changes_nothing(imported: Any) -> None:
    """Its text encoder lies in it; prompts and sizes that it does not take are refused in one line."""
    workdir = imported("sd_pipeline")
    config, before = load(workdir, sampling={"prompt": "a fox"}).config, (workdir / "config.json").read_bytes()
    assert (config.data.codec, config.data.text_encoder) == (str(workdir / "codec"), str(workdir / "text"))
    assert set(json.loads((workdir / "inputs.json").read_text())["files"]) == {"data.codec", "data.text_encoder"}
    model = REFERENCE / "sd_pipeline" / "model"
    main.run("import", folder_config.get_config(str(model)), str(workdir), str(model))
    assert (workdir / "config.json").read_bytes() == before and not (workdir / ".text").exists()
    for changes, message in (
        ({}, r"sampling\.prompt is '', and there is no test set"),
        ({"prompt": " "}, r"sampling\.prompt is ' ', which says nothing; give words, or leave it ''"),
        ({"prompt": "a", "negative_prompt": "  "}, r"sampling\.negative_prompt is ' ', which says nothing"),
        ({"prompt": "a", "height": 34}, r"each latent of this run stands for 4 pixels a side; give multiples of 4"),
        ({"prompt": "a", "height": 36}, r"takes latents whose sides are multiples of 4"),
        ({"prompt": "a", "guidance": 1.0, "negative_prompt": "b"}, r"nothing leads away from it"),
    ):
        asked = [(f"sampling.{name}", str(value)) for name, value in changes.items()]
        with pytest.raises(Refusal, match=message):
            main.prepare("sample", main.config_of(None, str(workdir), asked), str(workdir))
    captioned = [("data.captions", "True"), ("sampling.prompt", "a")]  # the pictures that it is compared with
    main.prepare("sample", main.config_of(None, str(workdir), captioned), str(workdir))


@pytest.mark.slow
def test_an_import_that_fails_leaves_no_run_and_is_done_again(tmp_path: Path) -> None:
    """A text encoder is cut short, and then mended; the run records what is frozen around its network."""
    folder, workdir = tmp_path / "model", tmp_path / "run"
    shutil.copytree(REFERENCE / "sd_pipeline" / "model", folder)
    weights = folder / "text_encoder" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refusal, match=rf"{folder}/text_encoder/model\.safetensors is cut short"):
        main.run("import", folder_config.get_config(str(folder)), str(workdir), str(folder))
    assert not (workdir / "config.json").exists(), "nothing that a command would take for a run"
    table = folder / "tokenizer" / "merges.txt"
    pairs = table.read_bytes()
    table.write_text("nonsense")
    with pytest.raises(Refusal, match=rf"{folder}/tokenizer/merges\.txt is no list of pairs"):
        main.run("import", folder_config.get_config(str(folder)), str(workdir), str(folder))
    table.write_bytes(pairs)
    weights.write_bytes(whole)
    main.run("import", folder_config.get_config(str(folder)), str(workdir), str(folder))
    assert set(json.loads((workdir / "inputs.json").read_text())["files"]) == {"data.codec", "data.text_encoder"}
    assert (workdir / "text" / "text_encoder" / "model.safetensors").read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("part", ["text_encoder/model", "vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model"])
def test_another_model_is_not_imported_over_a_run(part: str, imported: Any, tmp_path: Path) -> None:
    """Even where a single part is another: it would be said to be imported, and the first one drawn with."""
    workdir, folder = imported("sd_pipeline"), tmp_path / "model"
    shutil.copytree(REFERENCE / "sd_pipeline" / "model", folder)
    changed = safetensors_file.load(folder / f"{part}.safetensors")
    largest = max(changed, key=lambda name: changed[name].size)
    changed = {name: np.array(array) for name, array in changed.items()} | {largest: changed[largest] * 2}
    safetensors_file.save(folder / f"{part}.safetensors", changed)
    before = {file: file.read_bytes() for file in sorted(workdir.rglob("*")) if file.is_file()}
    with pytest.raises(Refusal, match=r"import into another --workdir"):
        main.run("import", folder_config.get_config(str(folder)), str(workdir), str(folder))
    after = {file: file.read_bytes() for file in sorted(workdir.rglob("*")) if file.is_file() and file in before}
    assert after == before


@pytest.mark.slow
def test_a_run_may_move_with_what_was_imported_with_it(imported: Any, tmp_path: Path) -> None:
    shutil.copytree(imported("sd_pipeline"), tmp_path / "first")
    first = json.loads((tmp_path / "first" / "config.json").read_text())
    first["data"] |= {"codec": str(tmp_path / "first" / "codec"), "text_encoder": str(tmp_path / "first" / "text")}
    (tmp_path / "first" / "config.json").write_text(json.dumps(first))
    (tmp_path / "first").rename(tmp_path / "moved")
    run = load(tmp_path / "moved", sampling={"prompt": "a fox"})
    assert run.config.data.codec == str(tmp_path / "moved" / "codec")
    assert run.experiment.told(0, 1)["text"].shape == (1, 77, 24)


@pytest.mark.slow
def test_what_python_draws_is_what_the_command_draws(imported: Any) -> None:
    """Of a prompt, or of the features that are given in its place."""
    workdir = imported("sdxl")
    run = load(workdir, sampling={"prompt": "two dogs", "negative_prompt": "blurry", "evaluations": 2, "count": 3})
    first = run.sampler()(jax.random.key(0), 3).x
    told = run.experiment.told(0, 3)
    given = run.sampler(prompt="a castle")(jax.random.key(0), 3, text=told["text"], pooled=told["pooled"]).x
    np.testing.assert_array_equal(given, first)
    other = run.sampler(prompt="a castle")(jax.random.key(0), 3).x
    assert not np.array_equal(other, first)
    smaller = run.sampler(height=16, told_size=(16, 16, 0, 0, 16, 16))(jax.random.key(0), 1).x
    assert smaller.shape == (1, 16, 32, 3)


UNET = "diffusion_pytorch_model"


def rewritten(folder: Path, name: str) -> None:
    """The weights in half precision and two files, as large folders have them."""
    weights = safetensors_file.load(folder / f"{name}.safetensors")
    half = {key: np.array(array, np.float16) for key, array in weights.items()}
    (folder / f"{name}.safetensors").unlink()
    parts = [dict(sorted(half.items())[i::2]) for i in range(2)]
    files = [f"{name}.fp16-0000{i}-of-00002.safetensors" for i in range(1, 3)]
    for file, part in zip(files, parts, strict=True):
        safetensors_file.save(folder / file, part)
    listed = {key: file for file, part in zip(files, parts, strict=True) for key in part}
    (folder / f"{name}.safetensors.index.fp16.json").write_text(json.dumps({"weight_map": listed}))


@pytest.mark.slow
def test_half_precision_in_several_files_is_the_same_run(imported: Any, tmp_path: Path) -> None:
    """The recorded weights are such that float16 holds them."""
    model = tmp_path / "model"
    shutil.copytree(REFERENCE / "sdxl" / "model", model)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        rewritten(model / part, "model" if part.startswith("text") else UNET)
    main.run("import", folder_config.get_config(str(model)), str(tmp_path / "run"), str(model))
    ours, whole = (load(folder, sampling={"prompt": "a fox"}) for folder in (tmp_path / "run", imported("sdxl")))
    jax.tree.map(np.testing.assert_array_equal, ours.variables, whole.variables)
    files = [json.loads((folder / "inputs.json").read_text()) for folder in (tmp_path / "run", imported("sdxl"))]
    assert files[0] == files[1], "the weights of autoencoder and text encoders"


@pytest.mark.slow
def test_an_inpainting_network_is_imported_and_says_what_it_needs(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(REFERENCE / "sd_pipeline" / "model", model)
    fields, file = json.loads((model / "unet" / "config.json").read_text()), model / "unet" / f"{UNET}.safetensors"
    (model / "unet" / "config.json").write_text(json.dumps(fields | {"in_channels": 9}))
    arrays = {key: np.array(array) for key, array in safetensors_file.load(file).items()}
    kernel = arrays["conv_in.weight"]
    more = np.random.default_rng(0).normal(size=(len(kernel), 5, 3, 3)).astype(kernel.dtype)
    safetensors_file.save(file, arrays | {"conv_in.weight": np.concatenate([kernel, more], axis=1)})
    main.run("import", folder_config.get_config(str(model)), str(tmp_path / "run"), str(model))
    asked = [("sampling.prompt", "a fox")]
    with pytest.raises(Refusal, match=r"model\.image_channels is 5: this network paints a part of a picture"):
        main.prepare("sample", main.config_of(None, str(tmp_path / "run"), asked), str(tmp_path / "run"))
    run = load(tmp_path / "run", sampling={"prompt": "a fox", "evaluations": 1, "guidance": 2.0})
    beside = np.zeros((1, 8, 8, 5), np.float32)
    black, white = (run.sampler()(jax.random.key(0), 1, beside=beside + level).x for level in (0.0, 1.0))
    assert black.shape == (1, 32, 32, 3) and not np.array_equal(black, white)
    with pytest.raises(ValueError, match=r"needs the field 'beside' of each example"):
        run.sampler()(jax.random.key(0), 1)


@pytest.mark.slow
def test_the_prediction_of_a_run_is_told_its_prompt_or_no_text(imported: Any) -> None:
    """By the first evaluation of the recorded pipeline, of two pictures without a prompt and with one each."""
    recorded = np.load(REFERENCE / "sd_pipeline" / "steps.npz")
    x, expected = nhwc(recorded["ddim/model_input_0"]), nhwc(recorded["ddim/model_output_0"])
    t = np.full(1, (recorded["ddim/timesteps"][0] + 1) / 1000, np.float32)
    for place, prompt in ((0, ""), (2, runs_of("sd_pipeline")["ddim"]["prompts"][0])):
        run = load(imported("sd_pipeline"), sampling={"prompt": prompt, "height": 32, "width": 48})
        eps = run.prediction(jnp.asarray(x[place : place + 1]), jnp.asarray(t)).eps
        np.testing.assert_allclose(eps, expected[place : place + 1], atol=2e-5 * np.abs(expected).max(), rtol=0)


def as_single_file(folder: Path, file: Path) -> None:
    """The networks of a folder of XL in one file, under the names that Stability's code has for them."""

    def tensors(part: str, name: str, options: dict, reader: Any, places: Any) -> dict[str, np.ndarray]:
        network = Network.create(name, **options)
        return spill(network, places(network), reader.read(folder / part, network).variables(ema=True))

    found = tensors("unet", *diffusers_text_unet.describe(folder / "unet"), diffusers_text_unet, compvis_unet.places)
    of_pictures = tensors("vae", *diffusers_autoencoder.describe(folder), diffusers_autoencoder, compvis.places)
    found |= {compvis.FIRST_STAGE + name: array for name, array in of_pictures.items()}
    for part, prefix, openai in (
        ("text_encoder", "conditioner.embedders.0.transformer.text_model.", False),
        ("text_encoder_2", "conditioner.embedders.1.model.", True),
    ):
        tower = text_encoder.Tower(prefix, openai)
        where = functools.partial(text_encoder.places, tower=tower)
        found |= tensors(part, *text_encoder.describe(folder / part), text_encoder, where)
    for query in [name for name in found if ".in_proj.query." in name]:  # one tensor there
        parts = [found.pop(query.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
        found[query.replace(".in_proj.query.", ".in_proj_")] = np.concatenate(parts)
    safetensors_file.save(file, {name: np.ascontiguousarray(array) for name, array in found.items()})


@pytest.mark.slow
def test_xl_in_a_single_file_draws_as_its_folder(narrow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two towers of two layouts, sizes and pooled text: the latents of the recorded pipeline."""
    monkeypatch.setattr(stable_diffusion_file, "SIZE_FEATURES", 8)
    described, heads = text_encoder.state_dict_options, {"conditioner.embedders.0.transformer.text_model.": 2}
    monkeypatch.setattr(
        text_encoder,
        "state_dict_options",
        lambda arrays, tower: described(arrays, tower, heads=heads.get(tower.prefix, 4)),
    )
    folder, file = REFERENCE / "sdxl", tmp_path / "xl.safetensors"
    as_single_file(folder / "model", file)
    given = [("data.tokenizer", f"clip:{folder / 'model' / 'tokenizer'}"), ("data.image_size", "32")]
    config = override(file_config.get_config(str(file)), given)
    assert (config.model.pooled_dim, config.sampling.guidance, config.model.prediction) == (16, 5.0, "eps")
    main.run("import", config, str(tmp_path / "run"), str(file))
    recorded, said = np.load(folder / "pictures.npz"), runs_of("sdxl")["euler"]
    for field in ("prompts", "negative_prompt"):
        (tmp_path / field).write_text("\n".join(said[field]))
    np.save(tmp_path / "start.npy", nhwc(recorded["latents"]))
    chosen = {"scheduler": said["scheduler"], "steps": said["steps"], "keep_latents": True}
    chosen |= {"prompt": f"@{tmp_path / 'prompts'}", "negative_prompt": f"@{tmp_path / 'negative_prompt'}"}
    chosen |= {"start": tmp_path / "start.npy"}
    changes = [(f"sampling.{field}", str(value)) for field, value in chosen.items()]
    main.run("sample", main.config_of(None, str(tmp_path / "run"), changes), str(tmp_path / "run"))
    (drawn,) = (tmp_path / "run" / "samples").glob("*.npz")
    expected = nhwc(recorded["euler/latents"])
    np.testing.assert_allclose(np.load(drawn)["latents"], expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
