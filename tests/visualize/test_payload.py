"""What a page holds: the noise that is stated, the product's own arrays by the stated rule, and few bytes."""

import dataclasses
import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
import samplers
from configs.discrete import digits as discrete_digits
from data.source import take
from experiment import Refusal, Run, build
from tests.visualize.tiny import config_of, folder_of, run_of
from visualize import kinds, page, payload, plane, size, tiles
from visualize.methods import chosen

FEW = {"visualize__count": 2, "visualize__places": 5, "visualize__evaluations": 4, "visualize__states": 8}


@pytest.fixture(scope="module")
def digits() -> tuple[Run, dict]:
    run = run_of(config_of("digits", visualize__methods=("ddim",), **FEW))
    return run, kinds.kind_of(run.experiment).of_run(run)


# alpha and sigma at t = 1/2 and 1: exp(-(beta_max - beta_min) t^2 / 4 - beta_min t / 2) with 0.1 and 20 (Song et al.
# 2021, eq. 33), and cos(pi/2 (0.9946 t + s) / (1 + s)) over itself at 0 with s = 0.008 (Nichol and Dhariwal 2021, eq.
# 17; Lu et al. 2022, App. D.4).
STATED = {
    "linear": ((0.281183, 0.959654), (0.006572, 0.999978)),
    "cosine": ((0.705728, 0.708483), (0.008416, 0.999965)),
}


def test_the_slider_states_the_noise_that_its_frames_hold(digits: tuple[Run, dict]) -> None:
    run, found = digits
    assert found["percents"] == [0.0, 25.0, 50.0, 75.0, 100.0]
    records, labels = payload.examples(run.experiment, 2)
    assert labels == ["0", "1"] and found["labels"] == labels
    data = run.codec.stretch(records["image"])
    np.testing.assert_array_equal(found["data"], data)
    x0 = 2.0 * records["image"].astype(np.float64) / 16 - 1.0
    eps = np.asarray(payload.unit_noise(run.experiment, x0.shape), np.float64)
    assert abs(eps.mean()) < 0.3 and abs(eps.std() - 1.0) < 0.2  # of 128 numbers: three standard errors
    by_name = {schedule["name"].split(":")[0]: schedule for schedule in found["schedules"]}
    assert [schedule["own"] for schedule in found["schedules"]] == [False, False, True]
    for name, (half, whole) in STATED.items():
        schedule = by_name[name]
        assert (schedule["alpha"][0], schedule["sigma"][0], schedule["log_snr"][0]) == (1.0, 0.0, np.inf)
        np.testing.assert_array_equal(schedule["frames"][0], data)
        for place, stated in ((2, half), (4, whole)):
            alpha, sigma = schedule["alpha"][place], schedule["sigma"][place]
            np.testing.assert_allclose((alpha, sigma), stated, atol=2e-6)
            assert schedule["log_snr"][place] == pytest.approx(2 * np.log(stated[0] / stated[1]), abs=1e-3)
            bytes_ = np.rint(np.clip(127.5 * (alpha * x0 + sigma * eps + 1.0), 0, 255))
            differing = np.abs(schedule["frames"][place].astype(int) - bytes_)
            assert differing.max() <= 1 and (differing > 0).mean() < 0.02  # alpha and sigma are float32's there
    own = by_name["this run"]
    np.testing.assert_array_equal(own["frames"], by_name["linear"]["frames"])  # the recipe is the linear one
    assert not np.array_equal(by_name["cosine"]["frames"][2], own["frames"][2])


def test_states_and_guesses_are_the_samplers_own(digits: tuple[Run, dict]) -> None:
    run, found = digits
    (path,), (settings,) = found["paths"], chosen(run.experiment)
    assert (path["name"], path["evaluations"]) == ("ddim", 4)
    key_prior, key_path = jax.random.split(jax.random.key(run.config.eval.seed))
    z = run.sde.prior_sample(key_prior, (2, 8, 8, 1))
    drawn = jax.jit(samplers.create(run.sde, run.prediction, settings, trajectory=True))(key_path, z)
    np.testing.assert_array_equal(path["spent"], np.arange(5))
    assert int(drawn.evaluations[0]) == path["spent"][-1] and path["t"][0] == 1.0 and path["t"][-1] == 0.0
    close(path["states"], by_rule(np.asarray(drawn.trajectory)))
    middle = np.asarray(drawn.trajectory)[2]
    guess = run.prediction(jnp.asarray(middle), jnp.full(2, path["t"][2], jnp.float32)).x0
    close(path["guesses"][2], by_rule(np.asarray(guess)))
    np.testing.assert_array_equal(path["guesses"][-1], path["states"][-1])


def by_rule(x: np.ndarray) -> np.ndarray:
    """Bytes by the rule that the page states for data from -1 to 1 and a process that preserves variance."""
    return np.rint(np.clip(255.0 * (x.astype(np.float64) + 1.0) / 2.0, 0.0, 255.0))


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal bytes, but for one where another program rounds a float otherwise."""
    differing = np.abs(found.astype(int) - wanted)
    assert differing.max() <= 1 and (differing > 0).mean() < 0.02


def test_the_page_is_one_file_of_few_bytes_that_names_no_other(digits: tuple[Run, dict]) -> None:
    _, found = digits
    text = page.html(found)
    assert len(text.encode()) < 200_000 and text.count("</script>") == 3 and "{{" not in text.replace("${", "")
    assert re.findall(r"(?:https?:)?//[a-z][\w.]*\.\w+|\bimport\b.*from|<link rel=.stylesheet|url\(", text) == [
        "http://www.w3.org"
    ]  # the name of SVG, which is no address that is asked
    packed = page.payload_of(text)
    np.testing.assert_array_equal(page.unpacked(packed["schedules"][1]["frames"]), found["schedules"][1]["frames"])
    assert packed["schedules"][0]["log_snr"][0] is None and packed["rule"] == found["rule"]


def test_the_page_is_utf_8_whatever_the_locale(digits: tuple[Run, dict], monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, encoding="latin-1": read(path, encoding=encoding))
    assert all(sign in page.html(digits[1]) for sign in "◐←▒")


def test_places_and_states_are_fewer_where_the_page_would_be_larger() -> None:
    """A byte of an array is 4/3 of one in the page, half of which is for either: of 800 bytes 300 are the places'."""
    for bytes_, places, states in ((2400, 201, 80), (800, 101, 60), (400, 51, 30), (0.01, 3, 2)):
        asked = ConfigDict({"megabytes": bytes_ / 1e6, "places": 201, "states": 80})
        percents, most = size.fitting(asked, place=2, state=5)
        assert (len(percents), most) == (places, states) and {0.0, 50.0, 100.0} <= set(percents)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("digits", 10_000), ("mixture8", 10_000), ("digits_masked", 5_000)])
def test_a_page_of_any_data_is_as_large_as_is_allowed_or_less(name: str, least: int) -> None:
    """Floats are hardly compressed, bytes of pictures better, and masks, which are all alike, to a tenth."""
    fields = {"sampling__steps": 40, "visualize__evaluations": 40, "visualize__count": 4, "visualize__points": 60}
    run = run_of(config_of(name, visualize__megabytes=0.1, visualize__arrows=6, **fields))
    found = kinds.kind_of(run.experiment).of_run(run)
    assert len(found["percents"]) < 101 and len(found["paths"][0]["t"]) < 41
    arrays = [np.asarray(part) for part in jax.tree.leaves(found) if isinstance(part, np.ndarray)]
    assert least < sum(len(page.packed(array)["base64"]) for array in arrays) < 110_000


def test_pictures_longer_than_a_side_are_averaged() -> None:
    y = np.arange(24.0).reshape(1, 4, 6, 1)
    np.testing.assert_array_equal(tiles._averaged(y, 2)[0, :, :, 0], [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]])
    assert tiles._averaged(y, 4).shape == (1, 1, 2, 1)  # the last column stands for what is beyond the edge


@pytest.mark.slow
def test_points_carry_the_score_of_the_run() -> None:
    run = run_of(config_of("mixture8", visualize__methods=("heun",), visualize__points=6, visualize__arrows=3, **FEW))
    found = kinds.kind_of(run.experiment).of_run(run)
    own, linear = found["schedules"][-1], found["schedules"][0]
    x0, eps = run.experiment.source.test[np.arange(6)]["image"], payload.unit_noise(run.experiment, (6, 2))
    np.testing.assert_allclose(own["frames"][0, 0], x0, atol=1e-6)
    alpha, sigma = own["alpha"][2], own["sigma"][2]
    np.testing.assert_allclose(own["frames"][2, 0], alpha * x0 + sigma * np.asarray(eps), atol=1e-5)
    places = (own["half"][2] * plane.lattice(3)).astype(np.float32)
    score = run.score(jnp.asarray(places), jnp.full(9, 0.5))
    np.testing.assert_allclose(own["field"][2], score, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(linear["field"][2], score, rtol=2e-3, atol=2e-3)  # the same process, found by its noise
    (path,) = found["paths"]
    assert path["states"].shape == path["guesses"].shape == (len(path["t"]), 1, 6, 2)
    assert path["spent"][-1] == path["evaluations"] <= 4
    t, half = path["t"][1], path["half"][1]
    assert 0.0 < t < 1.0 and t not in (0.25, 0.5, 0.75)  # no place of the slider
    score = run.score(jnp.asarray(half * plane.lattice(3), jnp.float32), jnp.full(9, t, jnp.float32))
    np.testing.assert_allclose(path["field"][1], score, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_is_masked_stays_masked_and_a_text_ends_without_masks() -> None:
    run = run_of(config_of("pydoc", sampling__steps=4, visualize__methods=("unmasking",), **FEW))
    found = kinds.kind_of(run.experiment).of_run(run)
    mask, alphabet = found["mask"], run.experiment.source.alphabet
    assert mask == len(alphabet) and found["view"] == "text"
    records = take(run.experiment.source.test, np.arange(2))["image"]
    for schedule in found["schedules"]:
        frames = schedule["frames"]
        np.testing.assert_array_equal(frames[0], records)
        assert (frames[-1] == mask).all() and schedule["sigma"][-1] == pytest.approx(1.0)
        assert all((later[earlier == mask] == mask).all() for earlier, later in itertools.pairwise(frames))
        assert ((frames == mask) | (frames == records)).all()
    linear, cosine = (schedule["frames"][2] == mask for schedule in found["schedules"][:2])
    assert found["schedules"][0]["alpha"][2] == pytest.approx(0.5)
    assert found["schedules"][1]["alpha"][2] == pytest.approx(np.cos(np.pi / 4), abs=1e-6)
    assert (linear[cosine]).all()  # the cosine has lost less by then, with the same random numbers
    (path,) = found["paths"]
    assert (path["states"][0] == mask).all() and (path["states"][-1] < mask).all()
    assert path["spent"] == [0, 1, 2, 3, 4] == path["step"] and path["evaluations"] == 4
    np.testing.assert_array_equal(path["guesses"][-1], path["states"][-1])
    text = "".join(found["symbols"][str(symbol)] for symbol in path["states"][-1][0])
    assert text == alphabet.decode(path["states"][-1][0])


@pytest.mark.slow
def test_categories_of_pictures_and_signals_have_pages_too() -> None:
    few = FEW | {"sampling__steps": 3}
    run = run_of(config_of("digits_masked", **few))
    found = kinds.kind_of(run.experiment).of_run(run)
    assert [path["name"] for path in found["paths"]] == ["unmasking", "maskgit"] and found["mask"] == 17
    assert found["palette"] == [int(byte) for byte in run.codec.stretch(np.arange(17, dtype=np.uint8))]
    run = run_of(config_of("tones", visualize__methods=("ddim",), **few))
    found = kinds.kind_of(run.experiment).of_run(run)
    assert found["data"].dtype == np.uint8 and found["data"].shape[1:] == found["paths"][0]["states"].shape[2:]
    assert found["noise"] is None and "as --mode=sample draws them" in found["rule"]


@pytest.mark.slow
def test_the_command_writes_the_page_with_every_default(tmp_path: Path) -> None:
    folder = folder_of(config_of("digits"), tmp_path / "run")
    main.run("visualize", main.config_of(None, str(folder)), str(folder))
    text = (folder / "visualizer.html").read_text()
    assert len(text.encode()) < 3_000_000
    found = page.payload_of(text)
    assert [path["name"] for path in found["paths"]] == ["pc", "dpmpp_2m", "heun", "ddim"]
    assert found["paths"][0]["evaluations"] == 201 and len(found["percents"]) == 101
    for path in found["paths"]:
        assert path["spent"][-1] == path["evaluations"]
    starts = [page.unpacked(path["states"])[0] for path in found["paths"]]
    assert all(np.array_equal(start, starts[0]) for start in starts)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"visualize__places": 100}, r"visualize\.places is 100; it must be an odd number"),
        ({"visualize__methods": ("ode",)}, r"visualize\.methods is \('ode',\).* take flow_heun or heun"),
        ({"visualize__methods": ("maskgit",)}, r"sampling\.method is 'maskgit', a sampler over categories"),
        ({"visualize__methods": ("dim",)}, r"visualize\.methods is \('dim',\).*known are "),
    ],
)
def test_what_cannot_be_shown_is_one_line(fields: dict, said: str, tmp_path: Path) -> None:
    folder = folder_of(config_of("mixture8"), tmp_path / "run")
    with pytest.raises(Refusal, match=said) as refusal:
        changes = [(name.replace("__", "."), repr(value)) for name, value in fields.items()]
        main.prepare("visualize", main.config_of(None, str(folder), changes), str(folder))
    assert "\n" not in str(refusal.value) and not (folder / "visualizer.html").exists()


def test_data_that_are_not_shown_yet_are_named() -> None:
    experiment = run_of(config_of("mixture8")).experiment
    longer = dataclasses.replace(experiment, source=dataclasses.replace(experiment.source, shape=(3,)))
    with pytest.raises(ValueError, match=r"cannot show vectors of shape \(3,\) yet.*'toy_mixture8'; it shows images"):
        kinds.kind_of(longer)


@pytest.mark.slow
def test_a_chain_visited_level_by_level_stands_beside_few_step_solvers() -> None:
    """The own sampler's grid is that of its chain, which no solver takes."""
    config = discrete_digits.get_config()
    assert config.sampling.grid == "levels"
    own, *others = chosen(build(config))
    assert (own.method, own.grid, own.steps) == ("ancestral", "levels", 200)
    assert [(each.method, each.evaluations) for each in others] == [("dpmpp_2m", 20), ("heun", 20), ("ddim", 20)]
