"""Captions and prompts: read as tokens for training and for samples, and judged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
from conditions.readers import TokenReader
from conditions.word_tokenizer import WordTokenizer
from configs.text import scenes, scenes_clip
from configs.vp import digits
from data.source import Arrays, take
from evaluation import ingredients
from evaluation.adherence import judge_of
from experiment import build, load, rules
from experiment.run import Run
from experiment.texts import Read, prompts_of, warn_of_unused

THREE = "a small red three above a large blue seven on grey"


def tiny(**sampling) -> ConfigDict:
    config = scenes.get_config()
    with config.unlocked():
        config.data.update(size=16, image_size=16, train_length=64, test_length=32)
    config.model.update(nf=8, ch_mult=(1, 2), attn_resolutions=(8,), head_channels=8, num_groups=2)
    config.model.update(text_width=8, text_layers=1, text_heads=2)
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=0, snapshot_freq=2, n_jitted_steps=1)
    config.training.update(snapshot_freq_for_preemption=2, snapshot_sampling=False)
    config.optim.update(warmup=0, decay_steps=0)
    config.sampling.update({"method": "ddim", "grid": "uniform", "evaluations": 2, **sampling})
    config.eval.update(batch_size=8, num_samples=16, samplers=("ddim",))
    return config


def test_records_have_their_captions_tokens_beside_them() -> None:
    experiment = build(tiny())
    records = experiment.source.train
    assert isinstance(records, Read) and experiment.batch_fields == ("image", "tokens", "mask")
    batch = take(records, np.array([3, 1]))
    words = batch["caption"][0].split()
    assert list(batch["mask"][0]) == [i <= len(words) for i in range(14)]
    vocabulary = experiment.source.vocabulary
    assert [vocabulary[i - 1] for i in batch["tokens"][0][: len(words)]] == words
    one = records[3]
    assert all(np.array_equal(one[name], batch[name][0]) for name in ("image", "tokens", "mask"))


def test_samples_are_of_the_test_captions_in_turn_or_of_the_prompts(tmp_path: Path) -> None:
    experiment = build(tiny())
    captions = take(experiment.source.test, np.arange(32))["caption"]
    assert experiment.texts(30, 4) == [*captions[30:], *captions[:2]]
    told = experiment.told(30, 4)
    np.testing.assert_array_equal(told["tokens"][2:], take(experiment.source.test, np.arange(2))["tokens"])
    assert build(tiny(prompt=THREE)).texts(5, 2) == [THREE, THREE]
    (tmp_path / "prompts.txt").write_text(f"{THREE}\n\na large pink one in the centre on white\n")
    asked = build(tiny(prompt=f"@{tmp_path / 'prompts.txt'}"))
    assert asked.texts(0, 3) == [THREE, "a large pink one in the centre on white", THREE]


def test_guidance_leads_away_from_no_text_or_the_negative_prompt() -> None:
    experiment, negative = build(tiny()), build(tiny(negative_prompt="a small red three"))
    told = experiment.told(0, 2)
    assert not experiment.untold(told)["mask"].any()
    away = negative.untold(negative.told(0, 2))
    assert away["mask"].sum() == 2 * 5 and away["tokens"].shape == told["tokens"].shape
    np.testing.assert_array_equal(away["tokens"][0], away["tokens"][1])


def test_kept_samples_are_of_their_texts() -> None:
    """By what the texts are, not by the name of their file; what guidance leads away from is one of the settings."""
    texts = [
        ingredients.of_texts(build(tiny(prompt=prompt)), 8) for prompt in ("", THREE, THREE.replace("red", "pink"))
    ]
    assert len({each["texts"] for each in texts}) == 3
    settings = [build(tiny(negative_prompt=text)).settings for text in ("", "red")]
    assert ingredients.of_sampler(settings[0]) != ingredients.of_sampler(settings[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling.prompt": "a small purple three"}, r"^sampling\.prompt: unknown word 'purple'"),
        ({"sampling.negative_prompt": "a smal three"}, r"^sampling\.negative_prompt: unknown word 'smal'"),
        ({"sampling.prompt": "a red three"}, r"^eval\.judge is 'scenes': the caption 'a red three' is no scene"),
        (
            {"data.tokenizer": "letters"},
            r"data\.tokenizer is 'letters'; it must be words, clip:FOLDER, openai:FOLDER, glide:FOLDER",
        ),
        ({"model.tokens": 1}, r"no token of a text would fit"),
        ({"model.vocabulary": 20}, r"model\.vocabulary is 20, and data\.tokenizer 'words' knows 37 tokens"),
        ({"sampling.negative_prompt": "red", "sampling.guidance": 1.0}, r"nothing leads away from it"),
        ({"eval.judge": "portraits"}, "portraits"),
    ],
)
def test_what_cannot_be_read_is_refused(changes: dict, message: str) -> None:
    """It is refused as the experiment is made, or its judge, before any text is read for a network."""
    config = tiny()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        judge_of(build(config))


def test_whatever_is_to_read_the_prompts_can() -> None:
    """Also what enlarges the samples; and none of them is judged where pictures are of a size that no scene has."""
    experiment = build(tiny(prompt=THREE))
    reader = TokenReader(WordTokenizer(words=("a", "three"), length=14))
    further = replace(experiment, upsampler=replace(experiment, reader=reader))
    (said,) = rules.of_prompts(replace(experiment, upsampler=further))
    assert said.startswith("sampling.prompt: unknown word 'small'; known: a, three")
    assert not list(rules.of_prompts(experiment))
    larger = replace(experiment, upsampler=replace(experiment, source=replace(experiment.source, shape=(64, 64, 3))))
    with pytest.raises(ValueError, match=r"pictures of scenes are 16x16x3, 24x24x3, 32x32x3, and these are 64x64x3"):
        judge_of(larger)


@pytest.mark.parametrize("given", [None, 5, ["a red three"], Path("prompts.txt")])
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_in_python_is_a_text(field: str, given: Any) -> None:
    """A list would be drawn as it is written, with its brackets, and None as the word."""
    run = Run(build(tiny()), 0, {})
    with pytest.raises(
        ValueError, match=rf"^sampling\.{field} is .*, of type {type(given).__name__}; it must be a text"
    ):
        run.sampler(**{field: given})


def test_a_network_that_reads_no_texts_takes_no_prompt() -> None:
    config = digits.get_config()
    config.sampling.prompt = THREE
    with pytest.raises(ValueError, match=r"sampling\.prompt is .*reads no texts; leave it ''"):
        build(config)


def test_a_file_of_prompts_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    assert prompts_of("") == () and prompts_of("a red fox") == ("a red fox",)
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(ValueError, match="holds no prompt; give one a line"):
        prompts_of(f"@{tmp_path / 'empty'}")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        prompts_of(f"@{tmp_path / 'bytes'}")
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(OSError, match=r"there is no such file; @FILE names one with a prompt on each line"):
            prompts_of(f"@{missing}")


def test_pictures_without_captions_may_be_compared_with_and_no_more() -> None:
    """They are read as they are; nothing is trained on them, and no caption of theirs stands for a prompt."""
    experiment = build(tiny())
    pictures = Read(Arrays({"image": np.zeros((4, 16, 16, 3), np.uint8)}), experiment.reader)
    assert set(take(pictures, np.arange(2))) == {"image"}
    without = replace(experiment, source=replace(experiment.source, train=pictures, test=pictures))
    assert any("has no captions; of a folder set data.captions to True" in said for said in rules.of_training(without))
    guided = replace(without, reader=None, guide=replace(experiment, config=scenes_clip.get_config()))
    for each in (without, guided):  # a network that reads, and one that reads nothing and is guided by a CLIP
        assert any("no test set whose captions could stand for it" in said for said in rules.of_told(each))
    assert not list(rules.of_told(experiment)) and not list(rules.of_training(experiment))


def test_prompts_of_which_nothing_is_drawn_are_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_unused(("a", "b", "c"), 3, "raise sampling.count")
    assert not caplog.messages
    warn_of_unused(("a", "b", "c"), 1, "raise sampling.count")
    assert caplog.messages == [
        "sampling.prompt holds 3 prompts for 1 pictures, and the last 2 are left out, from 'b' on; raise sampling.count"
    ]


@pytest.mark.slow
def test_a_run_is_trained_drawn_and_judged(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    main.run("train", tiny(), str(folder))
    main.run("sample", tiny(prompt=THREE, negative_prompt="a small red three"), str(folder))
    (picture,) = (folder / "samples").glob("*.png")
    assert Image.open(picture).text["prompt"] == THREE
    with np.load(picture.with_suffix(".npz")) as file:
        assert list(file["texts"]) == [THREE] * 100 and file["samples"].shape == (100, 16, 16, 3)
    main.run("evaluate", tiny(), str(folder))
    report = json.loads((folder / "report.json").read_text())
    assert report["judge"]["ground"] > 0.95
    assert 0.0 <= report["samplers"]["ddim"]["adherence"]["every"] <= report["samplers"]["ddim"]["adherence"]["count"]
    assert "the judge, real test pictures" in (folder / "report.md").read_text()
    drawn = load(folder).sampler()(jax.random.key(0), 3)
    assert drawn.x.shape == (3, 16, 16, 3)
