"""The command line: wrong input is refused in one line before anything is compiled or written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
import sde_lib
from configs.vp import cifar10_ddpmpp_continuous, digits, toy_mixture8_mlp
from evaluation import run as evaluation_run
from experiment import Refusal
from experiment.sampling import Drawer
from experiment.workdir import Workdir
from tests.experiment.command import call, contents, run
from training import loop

CONFIG = "--config=configs/vp/digits.py"


def test_a_training_ends_by_saying_where_its_results_are_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = toy_mixture8_mlp.get_config()
    config.training.n_iters = 6
    for step, said in ((6, True), (4, False)):  # the second was stopped, and its signal has said how to go on
        monkeypatch.setattr(loop, "train", lambda *_, step=step: step)
        main.run("train", config, str(tmp_path / "run"))
        out = capsys.readouterr().out
        assert (f"step 6; {tmp_path / 'run'} holds" in out) == said
        for mode in ("sample", "evaluate"):
            assert (f"python main.py --mode={mode} --workdir={tmp_path / 'run'}" in out) == said


def _refused(mode: str, config: ConfigDict, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line that `main.run` refuses with; neither training nor drawing is reached, the folder is untouched."""

    def reached(*_: Any) -> None:
        pytest.fail("wrong input was let through")

    for module, name in ((loop, "train"), (evaluation_run, "evaluate"), (Drawer, "start")):
        monkeypatch.setattr(module, name, reached)
    before = contents(workdir)
    with pytest.raises(Refusal) as refusal:
        main.run(mode, config, str(workdir))
    assert contents(workdir) == before
    line = str(refusal.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--config.training.batchsize=3"], ["batchsize", "batch_size"]),
        (["--config.trainin.batch_size=3"], ["trainin", "training"]),
        (["--config.training.zzz=3"], ["config field", "zzz", "configs/default.py"]),
        (["--config.training.batch_size=abc"], ["training.batch_size", "abc"]),
        (["--config=configs/vp/nosuch.py"], ["configs/vp/nosuch.py"]),
        (["--config=TYPO"], ["batchsize", "batch_size"]),
        (["--mode=trian"], ["trian", "train", "sample", "evaluate"]),
        (["--mode="], ["mode", "train", "sample", "evaluate"]),
        (["--wrkdir=x"], ["wrkdir"]),
        (["batch_size=3"], ["batch_size=3", "--name=value"]),
    ],
)
def test_wrong_flags(arguments: list[str], named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    typo = tmp_path / "typo.py"
    typo.write_text(
        "from configs import digits\n\n\ndef get_config():\n"
        "    config = digits.get_config()\n    config.training.batchsize = 3\n    return config\n"
    )
    workdir = tmp_path / "run"
    arguments = [a.replace("TYPO", str(typo)) for a in arguments]
    code, out, err = call(capsys, "--mode=train", CONFIG, f"--workdir={workdir}", *arguments)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert "\\" not in err and out == ""
    for name in named:
        assert name in err
    assert not workdir.exists()


@pytest.mark.parametrize("missing", ["--mode", "--config", "--workdir"])
def test_missing_flags(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["--mode=train", CONFIG, f"--workdir={tmp_path / 'run'}"]
    code, _, err = call(capsys, *(a for a in given if a.split("=")[0] != missing))
    assert code == 2 and err.startswith(f"error: missing {missing};") and err.count("\n") == 1


def _set(**fields: Any) -> Callable[[ConfigDict], None]:
    return lambda config: config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set(sampling__method="eulr"), ["sampling.method", "'eulr'", "euler_maruyama"]),
        (_set(sampling__predictor="reverse"), ["sampling.predictor", "'reverse'", "reverse_diffusion"]),
        (_set(sampling__corrector="langvin"), ["sampling.corrector", "'langvin'", "langevin"]),
        (_set(sampling__denoise="yes"), ["sampling.denoise", "'yes'", "tweedie"]),
        (_set(eval__samplers=("pc", "od")), ["'od'", "ode"]),
        (_set(data__dataset="digit"), ["'digit'", "digits", "photo_patches"]),
        (_set(sde__name="vpp"), ["'vpp'", "subvp"]),
        (_set(model__name="ncsnp"), ["'ncsnp'", "ncsnpp"]),
        (_set(model__prediction="noise"), ["model.prediction", "'noise'", "eps"]),
        (_set(model__noise_label="t1000"), ["model.noise_label", "'t1000'", "t999"]),
        (_set(training__batch_size=100), ["training.batch_size", "100", "8 devices", "96"]),
        (_set(training__batch_size=0), ["training.batch_size", "8"]),
        (_set(training__n_jitted_steps=3), ["n_jitted_steps", "3"]),
        (_set(training__importance_sampling=True), ["importance_sampling", "likelihood_weighting"]),
        (_set(optim__optimizer="Adamm"), ["'Adamm'", "AdamW"]),
        (_set(optim__lr=0.0), ["lr"]),
        (_set(model__ch_mult=(1, 1, 1, 1, 1)), ["8", "ch_mult"]),
        (_set(data__codec="vq"), ["data.codec", "'vq'", "levels"]),
        (_set(data__image_size=16), ["data.image_size", "16", "(8, 8, 1)"]),
        (_set(eval__batch_size=0), ["eval.batch_size", "0"]),
        (_set(eval__bpd_probe="radmacher"), ["eval.bpd_probe", "'radmacher'", "rademacher"]),
        (_set(eval__num_samples=1), ["eval.num_samples", "1"]),
    ],
)
def test_wrong_values(change: Callable, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits.get_config()
    change(config)
    line = _refused("train", config, tmp_path / "run", monkeypatch)
    for name in named:
        assert name in line


def test_unknown_options_of_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options of the process, the network and the data set are theirs: a wrong one is named, with the known."""
    of_names = (("sde", "sigma_mx", "beta_min"), ("model", "nff", "nf"), ("data", "pth", "digits"))
    of_default = (("sampling", "stepz", "'steps'"), ("training", "batchsize", "'batch_size'"), ("optim", "lrr", "'lr'"))
    for section, option, known in (*of_names, *of_default):
        config = digits.get_config()
        with config.unlocked():
            config[section][option] = 3
        line = _refused("train", config, tmp_path / "run", monkeypatch)
        assert option in line and known in line


def test_flips_of_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _small()
    config.data.random_flip = True
    line = _refused("train", config, tmp_path / "run", monkeypatch)
    assert "data.random_flip" in line and "(2,)" in line


def test_missing_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = cifar10_ddpmpp_continuous.get_config()
    with config.unlocked():
        config.data.data_dir = str(tmp_path)
    config.training.batch_size = 8
    line = _refused("train", config, tmp_path / "run", monkeypatch)
    assert "cifar10" in line and str(tmp_path) in line and "make data-cifar10" in line


def _folder_config(path: Path, **options: Any) -> ConfigDict:
    config = digits.get_config()
    with config.unlocked():
        config.data.update(dataset="folder", path=str(path), **options)
    return config


def test_empty_and_damaged_image_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, workdir = tmp_path / "images", tmp_path / "run"
    line = _refused("train", _folder_config(images), workdir, monkeypatch)
    assert str(images) in line and "not a folder" in line
    images.mkdir()
    line = _refused("train", _folder_config(images), workdir, monkeypatch)
    assert str(images) in line and "no image file" in line and ".png" in line
    for i in range(20):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(images / f"{i}.png")
    whole = (images / "7.png").read_bytes()
    (images / "7.png").write_bytes(whole[: len(whole) // 2])
    line = _refused("train", _folder_config(images, test_fraction=0.3), workdir, monkeypatch)
    assert str(images / "7.png") in line
    (images / "7.png").unlink()
    line = _refused("train", _folder_config(images, test_fraction=0.0), workdir, monkeypatch)
    assert "test" in line and "training.eval_freq" in line  # there is nothing to take test losses of
    config = _folder_config(images, test_fraction=0.0)
    config.training.eval_freq = 0
    with pytest.raises(pytest.fail.Exception, match="let through"):
        _refused("train", config, workdir, monkeypatch)


@pytest.mark.parametrize("mode", ["sample", "evaluate"])
def test_a_folder_without_a_run(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for workdir in (tmp_path / "none", tmp_path):
        line = _refused(mode, digits.get_config(), workdir, monkeypatch)
        assert str(workdir) in line and "--mode=train" in line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps of a small perceptron."""
    workdir = tmp_path_factory.mktemp("main") / "run"
    main.run("train", _small(), str(workdir))
    return workdir


def _small() -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    _set(model__width=8, model__depth=1, training__batch_size=8, training__n_iters=2, training__eval_freq=0)(config)
    _set(training__log_freq=1, training__snapshot_freq=2, training__snapshot_freq_for_preemption=1)(config)
    config.training.snapshot_sampling = False
    return config


def test_another_config_is_refused_naming_the_fields(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _small()
    _set(optim__lr=0.5, model__width=16)(config)
    line = _refused("train", config, trained, monkeypatch)
    assert "optim.lr (saved 0.002, now 0.5)" in line and "model.width (saved 8, now 16)" in line
    for mode in ("sample", "evaluate"):  # the learning rate does not matter to them
        line = _refused(mode, config, trained, monkeypatch)
        assert "model.width (saved 8, now 16)" in line and "optim.lr" not in line


def test_a_checkpoint_of_another_architecture(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _small()
    config.model.width = 16
    saved = (trained / "config.json").read_text()
    try:
        (trained / "config.json").unlink()
        line = _refused("train", config, trained, monkeypatch)
        assert "another model" in line and "saved float32[8]" in line and "wanted float32[16]" in line
        (trained / "config.json").write_text(saved.replace('"width": 8', '"width": 16'))
        for mode in ("sample", "evaluate"):
            assert "another model" in _refused(mode, config, trained, monkeypatch)
    finally:
        (trained / "config.json").write_text(saved)
    config = _small()
    config.eval.checkpoint = 77
    line = _refused("sample", config, trained, monkeypatch)
    assert "77" in line and "[1, 2]" in line


def test_a_finished_run_may_be_asked_again(trained: Path) -> None:
    """Nothing is left to do, and nothing is changed."""
    before = contents(trained)
    main.run("train", _small(), str(trained))
    assert contents(trained) == before


def test_without_a_config_the_run_says_it(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each mode takes what the run has saved, and of that only what the command line changes is changed."""
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    of_run = f"--workdir={workdir}"
    sampling = ("--config.sampling.method=flow_euler", "--config.sampling.flow_steps=2", "--config.eval.num_samples=8")
    few = (*sampling, "--config.eval.samplers=flow_euler", "--config.eval.batch_size=8", "--config.eval.enable_bpd=0")
    code, out, err = call(capsys, "--mode=sample", of_run, *sampling)
    assert code == 0 and Path(out.split()[-1]).exists(), err
    code, out, err = call(capsys, "--mode=evaluate", of_run, *few)
    assert code == 0 and "flow_euler" in out, err
    assert (workdir / "config.json").read_bytes() == (trained / "config.json").read_bytes()
    code, _, err = call(capsys, "--mode=sample", of_run, "--config.model.width=16")
    assert code == 2 and "model.width (saved 8, now 16)" in err and err.count("\n") == 1

    more = ("--config.training.n_iters=7", "--config.training.log_freq=2", "--config.sampling.steps=7")
    kept = ("--config.training.snapshot_freq=5", "--config.training.keep_checkpoints=1")
    code, _, err = call(capsys, "--mode=train", of_run, *more, *kept)
    assert code == 0, err
    saved = Workdir(workdir).config()
    assert (saved.training.n_iters, saved.training.log_freq, saved.sampling.steps) == (7, 2, 7)
    with Workdir(workdir).store(read_only=True) as store:
        assert store.steps() == [2, 5, 7]  # step 2 was archived by the frequency before
    code, _, err = call(capsys, "--mode=train", of_run, "--config.sampling.steps=9")  # nothing is left to train
    assert code == 0 and Workdir(workdir).config().sampling.steps == 9
    code, _, err = call(capsys, "--mode=train", of_run, "--config.optim.lr=0.5")
    assert code == 2 and "optim.lr (saved 0.002, now 0.5)" in err


def test_options_that_the_config_does_not_mention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """They reach the process and the network, and the saved config holds them and no others."""
    given = []
    monkeypatch.setattr(loop, "train", lambda experiment, *_: given.append(experiment) or 0)
    options = (
        "--config.sde.beta_max=10",
        "--config.model.fir=True",
        "--config.model.label_dim=10",
        "--config.model.nf=8",
    )
    classes = ("--config.data.classes=True", "--config.data.dataset=digits")
    arguments = ("--mode=train", CONFIG, f"--workdir={tmp_path / 'run'}", *options)
    code, _, err = call(capsys, *arguments)
    assert code == 0, err
    (experiment,) = given
    assert experiment.sde == sde_lib.create("vp", beta_max=10.0, t_min=1e-5)
    assert dict(experiment.network.options).items() >= {"fir": True, "label_dim": 10, "nf": 8}.items()
    config = digits.get_config()
    with config.unlocked():
        config.sde.beta_max, config.model.fir, config.model.label_dim, config.model.nf = 10.0, True, 10, 8
    assert experiment.config.to_dict() == config.to_dict()
    code, _, err = call(capsys, *arguments, *classes)
    assert code == 2 and "'data.classes'" in err and "(digits)" in err and err.count("\n") == 1


def test_without_a_config_and_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for mode in ("train", "sample", "stats"):
        code, out, err = call(capsys, f"--mode={mode}", f"--workdir={tmp_path / 'none'}")
        assert code == 2 and err.startswith("error: missing --config;") and str(tmp_path / "none") in err
        assert err.count("\n") == 1 and out == "" and not (tmp_path / "none").exists()


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpshort"])
def test_help(flag: str, capsys: pytest.CaptureFixture) -> None:
    code, out, err = call(capsys, flag)
    assert code == 0 and err == ""
    for word in (*main.MODES, "--config", "--workdir", "--checkpoint", "--config.SECTION.FIELD=VALUE"):
        assert word in out


@pytest.mark.slow
def test_refusals_of_a_process_are_one_line(tmp_path: Path, trained: Path) -> None:
    """On stderr, exit code 2, no traceback, no chatter of JAX; the folder as it was."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (images / "good.png").write_bytes(b"")
    folder = tmp_path / "folder.py"
    folder.write_text(
        "from configs import digits\n\n\ndef get_config():\n    config = digits.get_config()\n"
        f"    path = {str(images)!r}\n"
        "    with config.unlocked():\n        config.data.update(dataset='folder', path=path, test_path=path)\n"
        "    return config\n"
    )
    workdir = tmp_path / "run"
    cases = [
        ([CONFIG, f"--workdir={workdir}", "--config.training.batch_size=100"], "8 devices"),
        ([f"--config={folder}", f"--workdir={workdir}"], ".png"),
        (["--config=configs/vp/toy_mixture8_mlp.py", f"--workdir={trained}"], "model.width"),
    ]
    for arguments, named in cases:
        before = contents(trained)
        code, out, err = run("--mode=train", *arguments, devices=8)
        assert code == 2 and named in err, err
        assert err.startswith("error: ") and err.count("\n") == 1 and out == ""
        assert not workdir.exists() and contents(trained) == before


def test_a_refusal_says_nothing_of_absent_accelerators(tmp_path: Path) -> None:
    """Nor of anything else that JAX looked for in vain."""
    code, _, err = run(
        "--mode=train", CONFIG, f"--workdir={tmp_path / 'run'}", "--config.training.batch_size=0", platform=""
    )
    assert code == 2 and err.startswith("error: training.batch_size is 0") and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 9 bytes"), MemoryError()]
)
def test_what_does_not_fit_is_said_in_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(loop, "train", full)
    code, _, err = call(
        capsys, "--mode=train", "--config=configs/vp/toy_mixture8_mlp.py", f"--workdir={tmp_path / 'run'}"
    )
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 1 and len(lines) == 1 and "Traceback" not in err
    assert "out of memory" in lines[0] and "training.batch_size" in lines[0]
