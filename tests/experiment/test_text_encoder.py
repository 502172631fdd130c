"""Frozen text encoders as a condition: read from folders, told to networks, kept, refused where they do not fit."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from checkpoints import safetensors_file, text_encoder
from configs.text import scenes
from data.source import take
from experiment import Refusal, build, encoded, rules
from experiment.text_encoder import FrozenReader, Tower, of_folder
from experiment.texts import Read
from experiment.workdir import Workdir
from models.functional import Network

REFERENCE = Path(__file__).parents[1] / "reference" / "latent"
SD1, SD2, XL = (REFERENCE / name / "model" for name in ("sd_pipeline", "sd_pipeline_v", "sdxl"))


def close(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 2e-5) -> None:
    np.testing.assert_array_less(np.abs(ours - theirs), tolerance * np.maximum(1.0, np.abs(theirs)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd_pipeline", "sd_pipeline_v"])
def test_prompts_are_read_as_the_pipelines_of_stable_diffusion_read_them(name: str) -> None:
    folder, arrays = REFERENCE / name, np.load(REFERENCE / name / "steps.npz")
    prompts = json.loads((folder / "runs.json").read_text())["runs"]["ddim"]["args"]["prompt"]
    reader = of_folder("data.text_encoder", str(folder / "model"))
    close(reader.read(prompts)["text"], arrays["prompt_embeds"])
    close(reader.nothing["text"], arrays["empty_prompt_embeds"][0])
    assert reader.fields == ("text",)


def test_prompts_are_read_as_the_pipeline_of_xl_reads_them() -> None:
    """Two towers side by side, the projection of the second, and zeros for no prompt."""
    arrays, facts = np.load(XL.parent / "pictures.npz"), json.loads((XL.parent / "pictures.json").read_text())
    reader = of_folder("data.text_encoder", str(XL))
    said = reader.read([*facts["prompts"], *facts["negative"], facts["prompts"][0]])
    for entry, name in (("text", "prompt_embeds"), ("pooled", "pooled_prompt_embeds")):
        close(said[entry][:2], arrays[f"negative/{name}"])
        close(said[entry][2:4], arrays[f"negative/negative_{name}"])
        np.testing.assert_array_equal(said[entry][4], said[entry][0])
        np.testing.assert_array_equal(reader.nothing[entry], arrays[f"zero_negative/negative_{name}"][0])


@dataclasses.dataclass
class Recorded:
    """A tokenizer that has recorded tokens for every number of texts."""

    ids: np.ndarray
    length: int = 16
    digest: str = ""

    def encode(self, texts: Sequence[str]) -> Any:
        return SimpleNamespace(ids=np.resize(self.ids, (len(texts), self.length)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pooled"), [("sd1", False), ("with_projection", True)])
def test_a_clip_skip_leaves_out_layers_as_diffusers_does(name: str, pooled: bool) -> None:
    """SD takes hidden_states[-(n + 1)] through the final norm, XL hidden_states[-(n + 2)] as it is."""
    folder = REFERENCE / "text_encoder_clip"
    io, arrays = np.load(folder / "io.npz"), safetensors_file.load(folder / f"{name}.safetensors")
    kind, options = text_encoder.network_options(json.loads((folder / f"{name}.json").read_text()))
    network, tower = Network.create(kind, **options), text_encoder.towers(arrays)[0]
    recorded: Any = Recorded(io[f"{name}/input_ids"])
    one = Tower(network, lambda: text_encoder.variables(name, network, tower, arrays), recorded)
    said = FrozenReader((one,), skip=1, pooled=pooled).read(["a", "b", "c", "d", "e"])
    close(said["text"], io[f"{name}/hidden_states"][-3] if pooled else io[f"{name}/clip_skip_1"])
    if pooled:
        close(said["pooled"], io[f"{name}/text_embeds"])


def tiny(folder: Path = SD1, **data: Any) -> ConfigDict:
    """A narrow network of scenes that is told features of their captions."""
    config = scenes.get_config()
    with config.unlocked():
        config.data.update(size=16, image_size=16, train_length=24, test_length=8, tokenizer="")
        config.data.update(text_encoder=str(folder), **data)
        kept = ("prediction", "noise_label", "preconditioning", "num_scales")
        own = {name: value for name, value in config.model.items() if name.startswith("ema_") or name in kept}
        config.model = ConfigDict(own | {"name": "cross_attention_unet", "nf": 8, "ch_mult": (1, 2), "depths": (0, 1)})
        config.model.update(num_res_blocks=1, num_heads=(2,), text_dim=24, num_groups=4)
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=0, snapshot_freq=2, n_jitted_steps=1)
    config.training.update(snapshot_freq_for_preemption=2, snapshot_sampling=False, label_dropout=0.5)
    config.optim.update(warmup=0, decay_steps=0)
    config.sampling.update(method="ddim", grid="uniform", evaluations=2, guidance=2.0)
    config.eval.update(batch_size=8, num_samples=16, samplers=("ddim",), judge="")
    return config


def test_a_network_is_told_features_and_without_a_text_those_of_the_empty_one() -> None:
    experiment = build(tiny())
    batch = take(experiment.source.train, np.array([3, 1]))
    reader = experiment.source.train.reader  # type: ignore[attr-defined]
    assert experiment.batch_fields == ("image", "text") and batch["text"].shape == (2, 77, 24)
    np.testing.assert_array_equal(batch["text"], reader.read(list(batch["caption"]))["text"])
    alone = of_folder("data.text_encoder", str(SD1)).read([batch["caption"][1]])["text"][0]
    np.testing.assert_array_equal(batch["text"][1], alone, "whichever texts are read with it")
    condition = experiment.conditioner.encode(batch)
    keys = jax.random.split(jax.random.key(0), 2)
    dropped = jax.jit(lambda c: experiment.conditioner.drop(keys, c, 1.0))(condition)
    np.testing.assert_array_equal(dropped["text"], np.stack([reader.nothing["text"]] * 2))
    assert not np.array_equal(reader.nothing["text"], np.zeros((77, 24)))
    assert list(experiment.conditioner.told(dropped)) == [False, False]


def test_guidance_leads_away_from_the_empty_text_or_from_negative_prompts_in_turn(tmp_path: Path) -> None:
    (tmp_path / "negative").write_text("blurry\nlow quality\n")
    config = tiny()
    config.sampling.update(prompt="a red three", negative_prompt=f"@{tmp_path / 'negative'}")
    negative, none = build(config), build(tiny())
    assert isinstance(negative.reader, FrozenReader) and isinstance(none.reader, FrozenReader)
    told = negative.told(0, 3)
    away = negative.reader.read(["blurry", "low quality", "blurry"])["text"]
    np.testing.assert_array_equal(negative.untold(told)["text"], away)
    assert not np.array_equal(away[0], away[1])
    np.testing.assert_array_equal(told["text"], negative.reader.read(["a red three"] * 3)["text"])
    np.testing.assert_array_equal(none.untold(none.told(0, 1))["text"][0], none.reader.nothing["text"])


@pytest.mark.slow
def test_a_run_is_trained_and_sampled_with_its_text_encoder_and_knows_it_again(tmp_path: Path) -> None:
    """Trained on from kept features it is the same, bit for bit; another tower is refused."""
    trees = []
    for name in ("read", "kept"):
        config = tiny(latent_cache=str(tmp_path / "cache") if name == "kept" else "")
        main.run("train", config, str(tmp_path / name))
        with Workdir(tmp_path / name).store(read_only=True) as store:
            trees.append(store.restore(None, 2)[1])
    jax.tree.map(np.testing.assert_array_equal, *trees)
    inputs = json.loads((tmp_path / "read" / "inputs.json").read_text())
    shutil.copytree(SD1, tmp_path / "moved")
    moved = tiny(tmp_path / "moved")
    moved.sampling.prompt = "a large blue seven"
    main.run("sample", moved, str(tmp_path / "read"))
    assert len(inputs["files"]["data.text_encoder"]) == 64
    other = tiny(clip_skip=1)
    other.sampling.prompt = "a large blue seven"
    main.prepare("sample", other, str(tmp_path / "read"))  # a run is sampled with any, and trained on with its own
    with pytest.raises(Refusal, match=r"begun with another config: data\.clip_skip \(saved 0, now 1\)"):
        main.prepare("train", other, str(tmp_path / "read"))
    change(tmp_path / "moved" / "text_encoder" / "model.safetensors")
    with pytest.raises(Refusal, match=r"data\.text_encoder: the weights that it names are not those"):
        main.run("sample", moved, str(tmp_path / "read"))


def change(file: Path) -> None:
    """Another number in the first tensor of a file."""
    arrays = {name: np.array(array) for name, array in safetensors_file.load(file).items()}
    first = arrays[min(arrays)].reshape(-1)
    first[0] += 1.0
    safetensors_file.save(file, arrays)


def kept_folders(config: ConfigDict, cache: Path) -> set[str]:
    """The folders of the cache after a data set was kept in it."""
    experiment = build(config)
    found = encoded.kept(experiment.encoded, cache, 8)
    for own, read in ((found.train, experiment.source.train), (found.test, experiment.source.test)):
        batch, other = take(own, np.arange(5)), take(read, np.arange(5))
        assert all(np.array_equal(batch[name], other[name]) for name in other)
    return {path.name for path in cache.iterdir() if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize("ingredient", ["nothing", "captions", "weights", "tokenizer", "clip_skip", "layer"])
def test_features_are_kept_for_what_they_were_made_of(ingredient: str, tmp_path: Path) -> None:
    """Each ingredient of the features, changed on purpose, makes others; the same ones are used again."""
    shutil.copytree(SD1, tmp_path / "model")
    before = kept_folders(tiny(tmp_path / "model"), tmp_path / "cache")
    changes: dict[str, Any] = {}
    if ingredient == "captions":
        changes["train_length"] = 20  # of test captions there are as before
    if ingredient == "weights":
        change(tmp_path / "model" / "text_encoder" / "model.safetensors")
    if ingredient == "tokenizer":
        merges = tmp_path / "model" / "tokenizer" / "merges.txt"
        merges.write_text("\n".join(merges.read_text().split("\n")[:-20]) + "\n")
    if ingredient == "clip_skip":
        changes["clip_skip"] = 1
    after = kept_folders(tiny(tmp_path / "model", **changes), tmp_path / "cache")
    assert len(before) == 2 and len(after) == {"nothing": 2, "layer": 2, "captions": 3}.get(ingredient, 4)
    if ingredient == "layer":
        one = of_folder("data.text_encoder", str(XL))
        digests = {dataclasses.replace(one, **other).digest for other in ({}, {"pooled": False}, {"zeros": False})}
        assert len(digests) == 3


def without(part: str, folder: Path) -> Path:
    shutil.copytree(XL, folder)
    shutil.rmtree(folder / part)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.text_dim": 32}, r"model\.text_dim is 32, and the text encoder of .* makes 24 such features"),
        ({"model.pooled_dim": 16}, r"model\.pooled_dim is 16, and the text encoder of .* makes no such features"),
        ({"data.clip_skip": 4}, r"data\.clip_skip is 4, and the text encoder of .* has 3 layers; lower it"),
        ({"data.tokenizer": "words"}, r"a text encoder has a tokenizer of its own"),
        ({"data.text_encoder": "nowhere"}, r"data\.text_encoder is 'nowhere', which holds no text encoder"),
        ({"data.text_encoder": "", "sampling.prompt": "a"}, r"data\.text_encoder ''; name what makes features of it"),
        ({"data.text_encoder": "", "data.tokenizer": "words"}, r"is told features of texts and not their tokens"),
        ({"sampling.told_size": (16, 16)}, r"sampling\.told_size is .*; needed are six numbers"),
        ({"sampling.told_size": (16,) * 6}, r"is told no size \(model\.pooled_dim is 0\); leave it \(\)"),
        ({"sampling.prompt": "  "}, r"sampling\.prompt is '  ', which says nothing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    config = tiny()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message) as refused:
        build(config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("tokenizer_2", r"text_encoder_2 is a text encoder without its tokenizer: .*tokenizer_2 has neither"),
        ("text_encoder", r"lacks text_encoder/, which its model_index\.json names; fetch the whole folder"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_in_one_line(part: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        of_folder("data.text_encoder", str(without(part, tmp_path / "model")))


def test_a_tower_and_a_tokenizer_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SD1, tmp_path / "model")
    file = tmp_path / "model" / "text_encoder" / "config.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"vocab_size": 700}))
    with pytest.raises(ValueError, match=r"knows 774 tokens, and the text encoder in .* 700"):
        of_folder("data.text_encoder", str(tmp_path / "model"))
    file.write_text(json.dumps(fields | {"max_position_embeddings": 60}))
    with pytest.raises(ValueError, match=r"makes 77 tokens of a text, and the text encoder in .* takes 60"):
        of_folder("data.text_encoder", str(tmp_path / "model"))


def test_one_folder_may_hold_a_tower_and_its_tokenizer(tmp_path: Path) -> None:
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(SD1 / part, tmp_path, dirs_exist_ok=True)
    reader = of_folder("data.text_encoder", str(tmp_path))
    assert reader.shapes == {"text": (77, 24)} and isinstance(build(tiny(tmp_path)).source.train, Read)


def test_samples_that_nothing_is_said_of_are_refused_before_anything_compiles(tmp_path: Path) -> None:
    """In training too, whose grids of samples are of test captions."""
    config = tiny()
    config.data.test_length = 0
    with pytest.raises(Refusal, match=r"sampling\.prompt is '', .*; or set training\.snapshot_sampling to False"):
        config.training.snapshot_sampling = True
        main.prepare("train", config, str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"sampling\.prompt is '', and there is no test set"):
        rules.check(rules.of_told(build(config)))
    config.sampling.prompt = "a red three"
    rules.check(rules.of_snapshots(build(config)))
