"""Runs in one file, and those that come with the project, are loaded and imported; a damaged one is refused."""

import contextlib
import hashlib
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import experiment
import main
from checkpoints import run_file
from configs.vp import toy_mixture8_mlp
from data.digits import digits as digits_of
from experiment import Refusal, build, importing, pretrained
from experiment.workdir import Workdir
from limits import RandomKey
from models.functional import Network
from tests.experiment.command import call, contents

ROOT = Path(__file__).parents[2]
MOST_BYTES = 4_000_000


def tiny_run(folder: Path) -> Workdir:
    """A run of a small perceptron as training leaves it, with untrained weights."""
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.sampling.update(method="heun", evaluations=5)
    config.eval.samplers = ("heun",)
    variables, workdir = build(config).network.init(jax.random.key(0)), Workdir(folder)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(7, {"params": variables["params"], "ema": variables["params"], "fixed": variables["fixed"]})
    return workdir


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> experiment.Run:
    return experiment.load(tiny_run(tmp_path_factory.mktemp("runs") / "tiny").path)


@pytest.fixture
def shipped(run: experiment.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a run that comes with the project under the name "tiny"; nothing of that name lies around."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    run.save(folder / "tiny.safetensors")
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    digest = hashlib.sha256((folder / "tiny.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained, "SHIPPED", {"tiny": digest})
    monkeypatch.chdir(tmp_path)
    return folder / "tiny.safetensors"


def test_a_file_gives_what_the_folder_gives(run: experiment.Run, shipped: Path) -> None:
    z = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    expected = run.sampler()(jax.random.key(0), z).x
    for given in (shipped, str(shipped), "tiny"):
        found = experiment.load(given)
        assert found.step == 7 and found.config.to_dict() == run.config.to_dict()
        np.testing.assert_array_equal(found.sampler()(jax.random.key(0), z).x, expected)
    assert experiment.load("tiny", sampling={"evaluations": 9}).config.sampling.evaluations == 9


def test_a_folder_that_holds_a_run_comes_first(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    assert pretrained.resolve("tiny") == shipped
    (tmp_path / "tiny" / "config.json").write_text("{}")
    assert pretrained.resolve("tiny") == Path("tiny")
    assert pretrained.resolve("./tiny") == pretrained.resolve(Path("tiny")) == Path("tiny")


def test_a_damaged_or_missing_one_is_refused_in_one_line(shipped: Path) -> None:
    whole = shipped.read_bytes()
    shipped.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"tiny\.safetensors is damaged: its SHA-256 is \w{12}.*; install") as error:
        experiment.load("tiny")
    assert "\n" not in str(error.value)
    shipped.unlink()
    with pytest.raises(OSError, match=r"tiny\.safetensors is not there, which comes with the project"):
        experiment.load("tiny")


def test_what_a_file_does_not_hold_is_refused(run: experiment.Run, shipped: Path, tmp_path: Path) -> None:
    for asked in ({"checkpoint": 6}, {"ema": False}, {"ema_std": 0.1}):
        with pytest.raises(ValueError, match=r"tiny\.safetensors holds the averaged weights of step 7 alone"):
            experiment.load("tiny", **asked)
    with pytest.raises(ValueError, match=r"another config: model\.width \(saved 8, now 16\); what .* leave these f"):
        experiment.load("tiny", model={"width": 16})
    assert experiment.load("tiny", checkpoint=7, ema=True).step == 7
    guided = experiment.Run(run.experiment, run.step, run.variables)
    with guided.config.unlocked():
        guided.config.sampling.guide = "runs/other"
    try:
        with pytest.raises(ValueError, match=r"one network, and this run needs others: sampling\.guide='runs/other'"):
            guided.save(tmp_path / "guided.safetensors")
    finally:
        guided.config.sampling.guide = ""


def test_what_is_no_path_no_key_and_no_number_of_samples_is_one_line(run: experiment.Run) -> None:
    """Each is refused before anything is compiled; a key of the kind that JAX calls legacy is one."""
    draw, key = run.sampler(), jax.random.key(0)
    for given in (5, None):
        with pytest.raises(ValueError, match=f"the folder is {given}; it must be the path of a folder or of a file"):
            experiment.load(given)
        with pytest.raises(ValueError, match=f"the path is {given}; it must be the path of a folder or of a file"):
            run.save(given)
    for n in (-1, 0, 2.5, True, "4", None, np.zeros((0, 2), np.float32)):
        shown = repr(0 if isinstance(n, np.ndarray) else n)
        with pytest.raises(ValueError, match=f"the number of samples is {shown}; it must be a whole number of at lea"):
            draw(key, n)
    for wrong in (0, jax.random.split(key), np.zeros((2, 2), np.uint32), np.zeros(2), "key"):
        with pytest.raises(ValueError, match=r"the key is .*; it must be one random key") as error:
            draw(wrong, 4)
        assert "\n" not in str(error.value)
    for images in ("x", [], 3, np.zeros((0, 2), np.float32), np.zeros((4, 2), np.uint8)):
        with pytest.raises(ValueError, match=r"the examples are .*; needed are \[n, \*\(2,\)\], n at least 1"):
            run.log_likelihood(images)
    assert RandomKey().allows(jax.random.PRNGKey(0)) and RandomKey().allows(np.asarray(jax.random.PRNGKey(0)))
    np.testing.assert_array_equal(draw(key, np.int64(3)).x, draw(key, 3).x)


def test_nothing_but_a_saved_run_is_replaced(run: experiment.Run, tmp_path: Path) -> None:
    page, file = tmp_path / "README.md", tmp_path / "run.safetensors"
    page.write_text("# A page\n")
    with pytest.raises(FileExistsError, match=r"README\.md is a file that Run\.save has not written, .*; give another"):
        run.save(page)
    with pytest.raises(FileExistsError, match=r"is a folder, and only a file of Run\.save is replaced"):
        run.save(tmp_path)
    assert page.read_text() == "# A page\n"
    run.save(file)
    first = file.read_bytes()
    experiment.Run(run.experiment, 8, run.variables).save(file)
    assert file.read_bytes() != first and run_file.load(file).step == 8


@pytest.mark.slow
def test_a_run_folder_is_made_of_it_and_drawn_from(
    run: experiment.Run, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The config comes with the file; another one is refused, and other formats still need one."""
    code, out, err = call(capsys, "--mode=import", "--checkpoint=tiny", f"--workdir={tmp_path / 'run'}")
    assert (code, err) == (0, "") or "error" not in err
    assert "step 7 of tiny" in out
    loaded = experiment.load(tmp_path / "run")
    assert loaded.config.to_dict() == run.config.to_dict()
    for part in ("params", "fixed"):
        for name, array in run.variables[part].items():
            np.testing.assert_array_equal(loaded.variables[part][name], array)
    code, out, _ = call(capsys, "--mode=sample", f"--workdir={tmp_path / 'run'}", "--config.sampling.count=4")
    assert code == 0 and (tmp_path / "run" / "samples" / "heun_step_7_seed_0.png").exists()
    other = run.config.copy_and_resolve_references()
    with other.unlocked():
        other.sde.beta_max = 10.0
    with pytest.raises(Refusal, match=r"holds a run of another config: sde\.beta_max \(saved nothing, now 10\.0\)"):
        main.run("import", other, str(tmp_path / "other"), str(shipped))


def test_an_import_onto_the_same_run_writes_nothing_and_says_so(
    run: experiment.Run, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(importing, "waiting", lambda what: said.append(what) or contextlib.nullcontext())
    for _ in range(2):
        before = contents(tmp_path / "run")
        main.run("import", run.config, str(tmp_path / "run"), "tiny")
    assert contents(tmp_path / "run") == before and before is not None and "config.json" in before
    assert said[1::2] == ["writing the checkpoint of step 7", "comparing with the checkpoint of step 7"]


def test_what_is_no_run_is_said_with_the_names_of_what_is_shipped(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A name one letter off, a text, and weights that no config lies beside, from the command line and in Python."""
    offered = "a run that comes with the project, tiny"
    with pytest.raises(ValueError, match=rf"tin holds no run .*{offered} \(did you mean 'tiny'\?\)") as error:
        experiment.load("tin")
    assert "--" not in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "page.md").write_text("# A page\n")
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04")
    for given, said in (
        ("tin", f"tin is not there; give a file or a folder, or the name of {offered} (did you mean 'tiny'?)"),
        ("page.md", "page.md is none of the formats that can be imported"),
        ("page.md", f"or give the name of {offered}\n"),
        ("weights.pth", "missing --config"),
        ("weights.pth", "where --checkpoint is a run in one file, which weights.pth is not; give --config"),
    ):
        code, _, err = call(capsys, "--mode=import", f"--checkpoint={given}", f"--workdir={tmp_path / 'none'}")
        assert code == 2 and said in err and err.count("\n") == 1 and not (tmp_path / "none").exists()


CARD_FACT = re.compile(r"^\| (\w[\w /-]*) \| (.*) \|$", re.MULTILINE)


@pytest.mark.parametrize("name", pretrained.SHIPPED)
def test_what_is_shipped_is_small_sound_and_has_a_card_that_says_so(name: str) -> None:
    """Its network is that of today's code, and its config one that this code reads without a change."""
    file = pretrained.resolve(name)
    assert file.stat().st_size < MOST_BYTES
    found = run_file.load(file)
    loaded = experiment.load(name)
    card = dict(CARD_FACT.findall((pretrained.FOLDER / f"{name}.md").read_text()))
    assert card["SHA-256"] == f"`{pretrained.SHIPPED[name]}`"
    assert card["bytes"] == f"{file.stat().st_size:,}" and card["step"] == f"{found.step:,}"
    assert card["parameters"] == f"{loaded.experiment.network.count():,}"
    assert (ROOT / card["config"].strip("`")).exists()
    assert json.loads(json.dumps(found.config))["data"]["dataset"] in card["data"]
    assert isinstance(loaded.experiment.network, Network)


@pytest.mark.slow
def test_the_shipped_digits_draw_digits() -> None:
    """Most of 100 samples are as near to a training digit as 95 of 100 held-out ones are; of a Gaussian few are.

    Near is meant by the root mean square over pixels. The Gaussian has the mean and the covariance of the training
    digits. A share of 100 has a standard error of 0.05 at most, and the two shares are told apart by six of them.
    """
    run = experiment.load("digits")
    drawn = run.sampler("dpmpp_2m", evaluations=20)(jax.random.key(0), 100).x
    train, test = (source.arrays["image"] for source in (digits_of().train, digits_of().test))
    real = train.reshape(len(train), -1).astype(float)

    def nearest(images: np.ndarray) -> np.ndarray:
        return np.sqrt(((images.reshape(100, 1, -1) - real) ** 2).mean(-1)).min(1)

    limit = np.quantile(nearest(test[:100].astype(float)), 0.95)
    gaussian = np.random.default_rng(0).multivariate_normal(real.mean(0), np.cov(real.T), size=100)
    of_model, of_gaussian = (np.mean(nearest(x) <= limit) for x in (drawn, np.clip(np.round(gaussian), 0, 16)))
    assert of_model > 0.5 and of_model > of_gaussian + 6 * 0.05
