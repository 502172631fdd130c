"""A run that enlarges the samples of another: what it is told, with which keys, and what is refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
import samplers
from configs.vp import digits
from evaluation import ingredients
from experiment import Refusal, build, cascade, load, rules, sampling
from experiment.cascade import Cascade, key_of_next
from experiment.sampling import UPSAMPLER, Drawer
from experiment.weights import load_others
from experiment.workdir import Workdir
from tests.experiment.cascade_runs import PROMPT, config, untrained, upsampler

OTHER = "a large pink one in the centre on white"
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base, its upsampler, and one of that upsampler's pictures, which reads no texts."""
    folder = tmp_path_factory.mktemp("cascade")
    further = config(64, 2)
    with further.unlocked():
        for name in ("size", "unseen", "train_length", "test_length"):
            del further.data[name]
        further.data.update(dataset="folder", path="pictures", tokenizer="")
    configs = {"base": config(), "upsampler": upsampler(), "further": further}
    return {name: untrained(folder / name, each) for name, each in configs.items()}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each batch was told, of samplers that take an instant: noise of the key, added to what is enlarged."""
    seen: list[dict[str, Any]] = []

    def follow(drawer: Drawer, key: jax.Array, z: jax.Array, i: int = 0, told: Any = None) -> Any:
        told = drawer.experiment.told(i * drawer.size, drawer.size) if told is None else told
        seen.append({"stage": z.shape[1], "batch": i, "key": jax.random.key_data(key).tolist(), "z": z, **told})
        x = 0.2 * jax.random.normal(key, z.shape) + 0.1 * z
        if "low_res" in told:
            x += np.asarray(told["low_res"]).repeat(2, axis=1).repeat(2, axis=2)
        return 0.0, samplers.Samples(x, jnp.full(len(z), 2 + z.shape[1]))

    monkeypatch.setattr(Drawer, "follow", follow)
    return seen


def in_stages(runs: dict[str, Path], prompt: str = PROMPT, *names: str) -> Cascade:
    """What draws with the base and these upsamplers, four at once."""
    options = {"prompt": prompt, "upsampler": str(runs["upsampler"])}
    experiment = build(config(**options))
    if "further" in names:
        further = dataclasses.replace(
            experiment.upsampler, upsampler=build(Workdir(runs["further"]).config(), needs_data=False)
        )
        experiment = dataclasses.replace(experiment, upsampler=further)
    none: dict[str, Any] = {"params": {}}
    every = none | {UPSAMPLER + "params": {}, UPSAMPLER + UPSAMPLER + "params": {}}
    return Cascade(experiment, every, "ddim", 4)


def test_a_stage_enlarges_the_stored_pictures_of_the_one_before(runs, told, tmp_path: Path) -> None:
    """In [-1, 1], k to 2 k / 255 - 1 as GLIDE's notebooks, with the prompts in turn by its own tokenizer."""
    (tmp_path / "prompts").write_text(f"{PROMPT}\n{OTHER}\n")
    drawn = in_stages(runs, f"@{tmp_path / 'prompts'}").all_of(KEY, 6)
    assert drawn.x.shape == (6, 32, 32, 3) and drawn.x.dtype == np.uint8 and drawn.small.x.shape == (6, 16, 16, 3)
    assert list(drawn.evaluations) == [18 + 34] * 6 and list(drawn.small.evaluations) == [18] * 6
    base, larger = ([each for each in told if each["stage"] == side] for side in (16, 32))
    assert [len(base), len(larger)] == [2, 2]
    low = np.concatenate([each["low_res"] for each in larger])
    np.testing.assert_allclose(low[:6], drawn.small.x / 127.5 - 1.0, atol=1e-6)
    ours, theirs = (load(runs[name]).experiment for name in ("base", "upsampler"))
    for each, reader in ((base[1], ours), (larger[1], theirs)):
        expected = reader.reader.tokenizer.encode([PROMPT, OTHER, PROMPT, OTHER])
        np.testing.assert_array_equal(each["tokens"], expected[0])
        np.testing.assert_array_equal(each["mask"], expected[1])


def test_it_is_the_same_whoever_draws_it_and_its_keys_are_its_own(runs, told) -> None:
    """Batch by batch as an evaluation, all at once, and from given points; the base's are those without a cascade."""
    stages = in_stages(runs)
    drawn = stages.all_of(KEY, 7)
    keys = [tuple(each["key"]) for each in told]
    assert len(set(keys)) == len(keys) == 4
    points = {each["stage"]: np.asarray(each["z"]).ravel() for each in told if each["batch"] == 1}
    size = len(points[16])
    assert abs(np.corrcoef(points[16], points[32][:size])[0, 1]) < 4 / size**0.5
    rounds = [stages.fetch(stages.start(KEY, i)) for i in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([each.x for each in rounds])[:7], drawn.x)
    np.testing.assert_array_equal(np.concatenate([each.small.x for each in rounds])[:7], drawn.small.x)
    np.testing.assert_array_equal(stages.stages[0].all_of(KEY, 7).x, drawn.small.x)
    alone = load(runs["upsampler"], sampling={"prompt": PROMPT}).sampler()
    again = alone(key_of_next(KEY), 4, low_res=drawn.small.x[:4] / 127.5 - 1.0)
    np.testing.assert_array_equal(again.x, drawn.x[:4])
    first = [each["z"] for each in told[:2]]
    started = stages.all_from(KEY, np.concatenate(first)[:7])
    assert started.small.x.shape == (7, 16, 16, 3) and started.x.shape == (7, 32, 32, 3)


@pytest.mark.slow
def test_what_is_enlarged_is_enlarged_again(runs, told) -> None:
    drawn = in_stages(runs, PROMPT, "further").all_of(KEY, 3)
    assert [each.x.shape[1] for each in (drawn, drawn.small, drawn.small.small)] == [64, 32, 16]
    np.testing.assert_array_equal(drawn.small.x, in_stages(runs).all_of(KEY, 3).x)
    last = told[2]
    np.testing.assert_allclose(last["low_res"][:3], drawn.small.x / 127.5 - 1.0, atol=1e-6)
    assert "tokens" not in last, "it reads no texts"
    assert list(drawn.evaluations) == [18 + 34 + 66] * 3


def test_its_settings_are_its_own(runs) -> None:
    """Its sampler is what its config says; prompt, class, what is kept and how it is evaluated are the base's."""
    chosen = {"prompt": PROMPT, "upsampler": str(runs["upsampler"]), "keep_latents": True}
    experiment = load(runs["base"], {"eval.num_samples": 5}, sampling=chosen).experiment
    larger = experiment.upsampler
    assert larger is experiment.finest and (larger.settings.method, larger.settings.evaluations) == ("euler", 3)
    assert larger.settings.prior_scale == 0.9 and larger.config.sampling.keep_latents
    assert larger.config.eval.num_samples == 5 and larger.settings.prompt == ""
    facts = cascade.about(experiment)
    assert facts["upsampler"] == str(runs["upsampler"]) and facts["upsampler_method"] == "euler"
    assert facts["upsampler_evaluations"] == 3 and facts["upsampler_prior_scale"] == 0.9
    json.dumps(facts)


def changed(folder: Path, source: Path, **fields: object) -> str:
    """A copy of a run's config with these fields; no weights."""
    text = json.loads((source / "config.json").read_text())
    for name, value in fields.items():
        section, field = name.split("__")
        text[section][field] = value
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(text))
    return str(folder)


def test_what_does_not_fit_is_refused_in_a_line(runs, tmp_path: Path) -> None:
    base, larger = runs["base"], runs["upsampler"]
    itself = changed(tmp_path / "itself", larger, sampling__upsampler=str(tmp_path / "itself"))
    two = changed(tmp_path / "two", larger, sampling__upsampler=str(tmp_path / "three"))
    changed(tmp_path / "three", larger, sampling__upsampler=two)
    grey = changed(tmp_path / "grey", runs["further"], data__num_channels=1, data__image_size=32)
    for folder, message in (
        ("nowhere", r"sampling\.upsampler is 'nowhere', which holds no run \(no config\.json\)"),
        (str(base), r"sampling\.upsampler '.*base' has model\.name 'glide', which is told no smaller picture"),
        (str(runs["further"]), r"enlarges pictures of 32x32 pixels 2 times, and the samples of this run are 16x16"),
        (grey, r"of 1 channels and 256 levels, and the samples of this run are \(16, 16, 3\) with 256 levels"),
        (itself, r"sampling\.upsampler is '.*itself', which would enlarge what it has enlarged; name it once"),
        (two, r"sampling\.upsampler is '.*two', which would enlarge what it has enlarged"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            load(base, sampling={"upsampler": folder})
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"sampling\.height is 32, and sampling\.upsampler .* leave it 0"):
        load(base, sampling={"upsampler": str(larger), "height": 32})
    with pytest.raises(ValueError, match=r"the samples of this run are \(8, 8, 1\) with 17 levels"):
        of_eight = digits.get_config()
        of_eight.sampling.upsampler = str(larger)
        build(of_eight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "change", "message"),
    [
        ("evaluate", {"eval.enable_bpd": True}, "has no part in likelihoods"),
        ("evaluate", {"eval.measures": ("bits",)}, "has no part in likelihoods"),
        ("compare", {}, "--mode=compare is of a run's own samples, and sampling.upsampler is "),
        ("edit", {}, "which paints at full size what edit.task 'inpaint' has painted in a picture from a file"),
        ("train", {}, "sampling.upsampler is for the samples of a trained run; leave it '' in training"),
    ],
)
def test_modes_that_do_not_enlarge_say_so(runs, mode: str, change: dict, message: str) -> None:
    asked = config(upsampler=str(runs["upsampler"]))
    asked.update_from_flattened_dict(change)
    with pytest.raises(Refusal, match=message):
        main.run(mode, asked, str(runs["base"]))


Change = Callable[[ConfigDict], None]


def _set(**fields: object) -> Change:
    return lambda config: config.update_from_flattened_dict({n.replace("__", "."): v for n, v in fields.items()})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "larger"),
    [
        pytest.param({}, _set(sampling__evaluations=4), id="evaluations"),
        pytest.param({}, _set(sampling__method="heun"), id="method"),
        pytest.param({}, _set(sampling__guidance=2.0), id="guidance"),
        pytest.param({}, _set(sampling__prior_scale=0.997), id="scale of the prior"),
        pytest.param({}, _set(sampling__threshold="none"), id="threshold"),
        pytest.param({}, _set(data__tokenizer=""), id="tokenizer"),
        pytest.param({}, _set(model__prediction="eps"), id="prediction"),
        pytest.param({}, _set(sde__t_min=1e-4), id="process"),
        pytest.param({"prompt": OTHER}, _set(), id="text"),
        pytest.param({"upsampler": ""}, _set(), id="without"),
    ],
)
def test_another_upsampler_draws_anew(runs, tmp_path: Path, base: dict, larger: Change) -> None:
    """Its settings, what it means and what it reads count; where it lies does not."""

    def about(folder: str, **options: object) -> dict[str, Any]:
        experiment = build(config(**{"prompt": PROMPT, "upsampler": folder} | options))
        return ingredients.of_drawn(experiment, 6)

    before = about(changed(tmp_path / "moved", runs["upsampler"]))
    assert before == about(str(runs["upsampler"]))
    text = Workdir(runs["upsampler"]).config()
    larger(text)
    Workdir(tmp_path / "other").begin(text)
    assert about(str(tmp_path / "other"), **base) != before


@pytest.mark.slow
def test_weights_of_an_upsampler_count_and_are_its_own(runs, tmp_path: Path) -> None:
    """Every one of them changes what samples of the run depend on, as does the average of another step."""
    experiment = build(config(upsampler=str(runs["upsampler"])))
    others = load_others(experiment)
    assert {name.split("_")[0] for name in others} == {"upsampler"} and "upsampler_params" in others
    expected = load(runs["upsampler"]).variables["params"]
    name = next(iter(expected))
    np.testing.assert_array_equal(others["upsampler_params"][name], expected[name])
    about = ingredients.of_weights(experiment, 1, others)
    others["upsampler_params"][name] = others["upsampler_params"][name] + 1e-6
    assert ingredients.of_weights(experiment, 1, others) != about


def test_an_upsampler_alone_enlarges_the_test_set(runs, told) -> None:
    """In training, and where nobody gives it what to enlarge; the pictures are means of 2 x 2 pixels."""
    run = load(runs["upsampler"])
    run.sampler()(KEY, 4)
    pictures = run.experiment.source.test.take(np.arange(4))
    boxes = pictures["image"].reshape(4, 16, 2, 16, 2, 3).mean((2, 4)) / 127.5 - 1.0
    np.testing.assert_allclose(told[0]["low_res"], boxes, atol=1e-6)
    np.testing.assert_array_equal(told[0]["tokens"], pictures["tokens"])
    given = run.sampler()(KEY, 4, low_res=np.zeros((4, 16, 16, 3), np.float32))
    assert not np.any(told[1]["low_res"]) and given.x.shape == (4, 32, 32, 3)
    first = ingredients.of_drawn(run.experiment, 4)
    assert first["enlarged"]["fingerprint"]
    assert not list(rules.of_evaluation(run.experiment))
    assert sampling.UPSAMPLER not in first


@pytest.mark.slow
def test_an_upsampler_edits_nothing(runs) -> None:
    with pytest.raises(Refusal, match=r"--mode=edit has no smaller picture to tell, and model\.upsampling is 2"):
        main.run("edit", upsampler(prompt=PROMPT), str(runs["upsampler"]))


@pytest.mark.slow
def test_an_upsampler_is_trained_from_its_config(tmp_path: Path) -> None:
    """Its loss on the test set and its grid of samples are of the test set's own pictures made smaller."""
    folder = tmp_path / "run"
    main.run("train", upsampler(), str(folder))
    assert (folder / "samples" / "step_00000002.png").exists()
    main.run("sample", upsampler(), str(folder))
    assert list((folder / "samples").glob("euler_*.npz"))


@pytest.mark.slow
def test_modes_draw_in_stages_and_keep_what_was_drawn(runs, capsys: pytest.CaptureFixture) -> None:
    """--mode=sample and --mode=evaluate; the first stage is the base alone, the second the upsampler told of it."""
    alone, both = config(prompt=PROMPT), config(prompt=PROMPT, upsampler=str(runs["upsampler"]), keep_latents=True)
    for each in (alone, both):
        each.eval.update(batch_size=50, num_samples=60, frechet_size=8, judge="scenes")
    folder = runs["base"] / "samples"
    main.run("sample", alone, str(runs["base"]))
    main.run("sample", both, str(runs["base"]))
    small, large = (np.load(folder / f"ddim_step_1_seed_0_guidance_3{end}.npz") for end in ("", "_upsampled"))
    np.testing.assert_array_equal(large["small"], small["samples"])
    assert large["samples"].shape == (100, 32, 32, 3) and large["latents"].shape == (100, 32, 32, 3)
    assert large["small_latents"].shape == (100, 16, 16, 3) and list(large["texts"]) == [PROMPT] * 100
    draw = load(runs["upsampler"], {"eval.batch_size": 50}, sampling={"prompt": PROMPT}).sampler()
    told = np.float32(large["small"] / 127.5 - 1.0)
    np.testing.assert_array_equal(draw(key_of_next(jax.random.key(0)), 100, low_res=told).x, large["samples"])
    picture = Image.open(folder / "ddim_step_1_seed_0_guidance_3_upsampled.png")
    assert picture.text["upsampler"] == str(runs["upsampler"]) and picture.text["upsampler_method"] == "euler"
    assert picture.size[0] >= 10 * 34 and str(large["upsampler_evaluations"]) == "3"
    main.run("evaluate", both, str(runs["base"]))
    report = json.loads((runs["base"] / "report.json").read_text())
    row = report["samplers"]["ddim"]
    assert row["evaluations"] == {"mean": 5.0, "max": 5} and row["settings"]["upsampler_evaluations"] == 3
    assert row["frechet_distance"] > 0.0, "the training set of the upsampler is compared with"
    assert row["adherence"].keys() == report["judge"].keys() and report["judge"]["ground"] > 0.9, "of 32 pixels"
    kept = sorted((runs["base"] / "evaluation").rglob("round_*.npz"))
    with np.load(kept[0]) as first:
        assert first["samples"].shape == (50, 32, 32, 3)
    written = [path.stat().st_mtime_ns for path in kept]
    main.run("evaluate", both, str(runs["base"]))
    assert [path.stat().st_mtime_ns for path in kept] == written, "nothing is drawn again"
    capsys.readouterr()
