"""Inpainting in stages: a run paints small, and another paints at full size what it has painted."""

import collections
import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback
from ml_collections import ConfigDict
from PIL import Image

import main
from conditions.word_tokenizer import WordTokenizer
from data.scene import VOCABULARY
from experiment import Experiment, Refusal
from sde_lib.base import AffineSDE
from tests import torch_writer
from tests.experiment import cascade_runs
from tests.experiment.cascade_runs import PROMPT, untrained
from tests.experiment.test_glide_cascade import CHAIN, LOW, PROMPTS, TOLERANCE, nhwc_all
from tests.experiment.test_glide_cascade import config as glide
from tests.experiment.test_glide_cascade import folder as folder
from tests.models.glide_weights import arrays_of, nhwc

OTHER = "a large pink one in the centre on white"


def painting(config: ConfigDict, **model: Any) -> ConfigDict:
    with config.unlocked():
        config.model.update(inpaint=True, **model)
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The runs, two pictures of 32 pixels and their mask."""
    path = tmp_path_factory.mktemp("stages")
    configs = {"base": painting(cascade_runs.config()), "upsampler": painting(cascade_runs.upsampler())}
    found = {name: untrained(path / name, config) for name, config in configs.items()}
    (path / "pictures").mkdir()
    draw = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(path / "pictures" / f"{i}.png")
    mask = np.full((32, 32), 255, np.uint8)
    mask[:, 9:23] = 0
    Image.fromarray(mask).save(path / "mask.png")
    (path / "prompts").write_text(f"{PROMPT}\n{OTHER}\n")
    return found | {"folder": path}


def asked(runs: dict[str, Path], **edit: Any) -> ConfigDict:
    folder, config = runs["folder"], painting(cascade_runs.config(guidance=2.0))
    config.sampling.update(upsampler=str(runs["upsampler"]), prompt=f"@{folder / 'prompts'}")
    config.edit.update({"image": str(folder / "pictures"), "mask": str(folder / "mask.png"), "count": 2} | edit)
    return config


def edited(runs: dict[str, Path], config: ConfigDict) -> dict[str, np.ndarray]:
    main.run("edit", config, str(runs["base"]))
    newest = max((runs["base"] / "edits").glob("*.npz"), key=lambda file: file.stat().st_mtime_ns)
    return dict(np.load(newest))


def pictures_of(runs: dict[str, Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(runs["folder"] / "pictures" / f"{i}.png")) for i in range(2)])


def assert_kept(results: np.ndarray, pictures: np.ndarray) -> None:
    """Outside of the mask, of each result."""
    for left in (slice(0, 9), slice(23, 32)):
        for result in np.moveaxis(results, 1, 0):
            np.testing.assert_array_equal(result[:, :, left], pictures[:, :, left])


def test_the_second_stage_is_told_what_the_first_has_painted(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own pictures, mask and tokens beside; with samplers that take an instant."""
    seen: list[dict[str, Any]] = []

    def instant(experiment: Experiment, variables: dict, read: Any, small: Any = None) -> Any:
        def apply(variables: dict, key: jax.Array, told: dict, *given: Any) -> Any:
            seen.append({"key": jax.random.key_data(key).tolist()} | jax.tree.map(np.asarray, told))
            return np.asarray(jnp.tanh(jax.random.normal(key, (2, *experiment.codec.shape)))), np.full(2, 3)

        return apply

    monkeypatch.setattr("editing.stages.edit_of", instant)
    found = edited(runs, asked(runs))
    assert found["small"].shape == (2, 2, 16, 16, 3) and found["results"].shape == (2, 2, 32, 32, 3)
    assert found["evaluations"] == 6.0 and list(found["texts"]) == [PROMPT, OTHER]
    for stage, length in enumerate((14, 20)):  # each by its own tokenizer
        ids = WordTokenizer(words=VOCABULARY, length=length).encode([PROMPT, OTHER]).ids
        np.testing.assert_array_equal(np.concatenate([each["tokens"] for each in seen[2 * stage :][:2]]), ids)
    assert len({tuple(each["key"]) for each in seen}) == 4
    pictures, known = pictures_of(runs), np.ones((32, 32, 1))
    known[:, 9:23] = 0.0
    for i, each in enumerate(seen[2:]):
        np.testing.assert_allclose(each["low_res"], found["small"][i] / 127.5 - 1.0, atol=1e-6)
        np.testing.assert_array_equal(each["known_mask"][0], known)
        np.testing.assert_allclose(each["known_image"][0], pictures[i] / 127.5 - 1.0, atol=1e-6)
        np.testing.assert_array_equal(
            found["results"][i][:, known[..., 0] > 0], np.stack([pictures[i]] * 2)[:, known[..., 0] > 0]
        )
    assert_kept(found["results"], pictures)
    with pytest.raises(Refusal, match=r"edit\.task is 'vary' and edit\.image '.*pictures'; take that task and name"):
        edited(runs, asked(runs, task="vary"))
    with pytest.raises(Refusal, match=r"edit\.image ''; take that task and name a picture"):
        edited(runs, asked(runs, image=""))


@pytest.mark.slow
def test_pixels_outside_the_mask_are_those_of_the_picture_to_the_level(runs: dict[str, Path]) -> None:
    """By two untrained networks and their own samplers; the same key paints the same again."""
    found, pictures = edited(runs, asked(runs)), pictures_of(runs)[:, None]
    assert_kept(found["results"], pictures[:, 0])
    painted = (slice(None), slice(None), slice(None), slice(9, 23))
    assert (found["results"][painted] != pictures[painted]).mean() > 0.9
    assert found["evaluations"] == 5.0 and str(found["upsampler_method"]) == "euler"
    again = edited(runs, asked(runs))
    np.testing.assert_array_equal(again["results"], found["results"])


@pytest.mark.slow
def test_glides_inpainting_upsampler_is_met(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told the recorded small pictures in place of what the first stage paints, from the recorded noise times 0.997."""
    runs = {}
    for name, size, variant, schedule in (("base", 4, "inpaint", "cosine"), ("up", 16, "superres_inpaint", "linear")):
        weights = {n: np.asarray(array, np.float32) for n, array in arrays_of(variant).items()}
        torch_writer.save(tmp_path / f"{name}.pt", collections.OrderedDict(sorted(weights.items())))
        runs[name] = glide(folder, size, variant, schedule, prior_scale=0.997 if name == "up" else 1.0)
        runs[name].sampling.update(method="ancestral", steps=4)
        runs[name].eval.samplers = ("ancestral",)
        main.run("import", runs[name], str(tmp_path / name), str(tmp_path / f"{name}.pt"))

    pictures, known = nhwc(CHAIN["inpaint/image"]), CHAIN["inpaint/mask"][:, 0] > 0.5
    noise = nhwc_all(CHAIN["chain/noise"]).astype(np.float32)
    draws = iter([noise[step, i : i + 1] for i in range(2) for step in range(5)])  # of each the start, then four steps
    small = iter(LOW)
    edit_of = importlib.import_module("editing.stages").edit_of

    def recorded(shape: tuple[int, ...]) -> Any:
        return io_callback(lambda: next(draws), jax.ShapeDtypeStruct(shape, np.float32), ordered=True)

    def first_recorded(experiment: Experiment, variables: dict, read: Any, *given: Any) -> Any:
        if experiment.codec.shape[0] == 16:
            return edit_of(experiment, variables, read, *given)
        return lambda *_: (next(small)[None].astype(np.float32), np.full(1, 5))

    def given(experiment: Experiment, *_: Any, **__: Any) -> np.ndarray:
        whole = (pictures + 1.0) / 2.0
        return whole if experiment.codec.shape[0] == 16 else whole.reshape(2, 4, 4, 4, 4, 3).mean((2, 4))

    monkeypatch.setattr("editing.stages.edit_of", first_recorded)
    monkeypatch.setattr(importlib.import_module("samplers.ancestral"), "normal_like", lambda key, x: recorded(x.shape))
    monkeypatch.setattr(AffineSDE, "prior_sample", lambda self, key, shape: recorded(shape))
    monkeypatch.setattr("editing.pictures.given", given)
    (tmp_path / "masks").mkdir()
    for i in range(2):
        Image.fromarray(np.uint8(255 * known[i])).save(tmp_path / "masks" / f"{i}.png")
    config = runs["base"]
    config.sampling.update(prompt=f"@{folder / 'prompts'}", keep_latents=True, upsampler=str(tmp_path / "up"))
    config.edit.update(count=1, mask=str(tmp_path / "masks"), image="given", paste=False)
    main.run("edit", config, str(tmp_path / "base"))

    (file,) = (tmp_path / "base" / "edits").glob("*.npz")
    found = dict(np.load(file))
    np.testing.assert_array_equal(found["small"][:, 0], np.round(127.5 * (LOW + 1.0)))
    assert list(found["texts"]) == PROMPTS and str(found["task"]) == "inpaint by consistent"
    expected = nhwc(CHAIN["up_inpaint/x"][-1])
    np.testing.assert_allclose(found["latents"][:, 0], expected, rtol=0, atol=TOLERANCE)
