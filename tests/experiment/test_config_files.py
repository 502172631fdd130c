"""A config file or a run's config.json that is not one: refused in one line that names it."""

import json
from pathlib import Path

import pytest

from configs.vp import digits, toy_mixture8_mlp
from experiment import build, config_files
from experiment.workdir import Workdir
from tests.experiment.command import call
from training import loop

START = "from configs.vp import digits\n\n\ndef get_config():\n    config = digits.get_config()\n"
FILES = {
    "nothing": (START, ["returns None", "ConfigDict"]),
    "text": ("def get_config():\n    return 'vp'\n", ["returns 'vp'", "ConfigDict"]),
    "no function": ("config = 3\n", ["no function get_config()"]),
    "no callable": ("get_config = 3\n", ["no function get_config()"]),
    "raises": ("def get_config():\n    raise RuntimeError('two\\nlines')\n", ["RuntimeError: two lines"]),
    "exits": ("import sys\nsys.exit(3)\n", ["SystemExit: 3"]),
    "exits later": ("def get_config():\n    raise SystemExit\n", ["SystemExit"]),
    "key": ("def get_config():\n    return {}['zzz']\n", ["KeyError: zzz"]),
    "assertion": ("assert False\n", ["AssertionError"]),
    "syntax": ("def get_config(:\n", ["SyntaxError", "line 1"]),
    "import": ("import no_such_module\n", ["no_such_module"]),
    "arguments": ("def get_config(name):\n    return name\n", ["TypeError", "'name'"]),
    "binary": ("\x00\x01", ["null bytes"]),
    "misspelt": (START + "    config.training.batchsize = 3\n    return config\n", ["batchsize", "batch_size"]),
    "section that is misspelt": (
        START + "    return type(config)(config.to_dict() | {'samplng': {'method': 'ode'}})\n",
        ["'samplng'", "did you mean 'sampling'"],
    ),
    "section": (
        START + "    return type(config)(config.to_dict() | {'model': 'ncsnpp'})\n",
        ["'ncsnpp' as 'model'", "section"],
    ),
    "no section": (
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n    return ConfigDict()\n",
        ["'sde'"],
    ),
    "no name": (
        START + "    with config.unlocked():\n        del config.sde.name\n    return config\n",
        ["sde.name", "a name belongs"],
    ),
}


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What should have been refused does not train."""
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("a wrong config was let through"))


@pytest.mark.parametrize("kind", FILES)
def test_a_config_file_that_is_none(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text, named = FILES[kind]
    file, workdir = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(text)
    code, out, err = call(capsys, "--mode=train", f"--config={file}", f"--workdir={workdir}")
    assert code == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    for words in (str(file), *named):
        assert words in err
    assert not workdir.exists()


def test_config_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for given in ("configs/vp/nosuch.py", "", str(tmp_path), "~nobody-of-this-name/x.py"):
        code, _, err = call(capsys, "--mode=train", f"--config={given}", f"--workdir={tmp_path / 'run'}")
        assert code == 2 and repr(given) in err and err.count("\n") == 1, err


def test_a_config_file_takes_an_argument_and_may_be_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config(width='8'):\n"
        "    config = ConfigDict({'sde': {'name': 've'}, 'model': {'name': 'mlp'}, 'data': {'dataset': 'toy_moons'}})\n"
        "    config.model.width = int(width)\n    return config\n"
    )
    short, told = config_files.from_file("~/mine.py"), config_files.from_file("~/mine.py:16")
    assert (short.model.width, told.model.width, short.model.ema_rate) == (8, 16, 0.9999)
    assert short.sde.to_dict() == {"name": "ve"} and short.training.n_iters == 1_300_001
    with short.unlocked():
        short.data.centered = False
    assert build(short).network.name == "mlp"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        ('{"sde": {"name": "vp"', "damaged"),
        pytest.param("[" * 100_000, "damaged", id="deep"),
        ("[1, 2]", "[1, 2] in place of a dictionary"),
        ("null", "None in place of a dictionary"),
        ("\udcff\udcfe", "damaged"),
        ("{}", "no section 'sde'"),
        ('{"sde": "vp", "model": {}, "data": {}}', "'vp' as 'sde'"),
        ('{"sde": {}, "model": {}, "data": {}}', "sde.name"),
        ('{"sde": {"name": "vp"}, "model": {"name": 3}, "data": {}}', "3 as model.name"),
        ('{"sde": {"name": "vp"}, "model": {}, "data": {}, "eval": 3}', "3 as 'eval'"),
    ],
)
def test_a_damaged_config_of_a_run(text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With --config or without it, and of a run that is to guide another."""
    workdir, guided = tmp_path / "run", Workdir(tmp_path / "guided")
    workdir.mkdir()
    file = workdir / "config.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    guided.begin(digits.get_config())
    commands = [[f"--workdir={workdir}", f"--mode={mode}"] for mode in ("train", "sample")]
    commands += [[*command, "--config=configs/vp/digits.py"] for command in commands]
    commands.append(["--mode=sample", f"--workdir={guided.path}", f"--config.sampling.guide={workdir}"])
    for arguments in commands:
        code, out, err = call(capsys, *arguments)
        assert code == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1, err
        assert str(file) in err and named in err
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


def test_an_unreadable_config_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "config.json").mkdir()
    for more in ([], ["--config=configs/vp/digits.py"]):
        code, _, err = call(capsys, "--mode=train", f"--workdir={tmp_path}", *more)
        assert code == 2 and "config.json" in err and err.count("\n") == 1


def test_a_guide_of_an_older_run_has_the_defaults(tmp_path: Path) -> None:
    guide, config = Workdir(tmp_path / "guide"), toy_mixture8_mlp.get_config()
    guide.begin(config)
    saved = json.loads(guide.config_file.read_text())
    del saved["training"]["label_dropout"], saved["model"]["noise_label"], saved["eval"]
    guide.config_file.write_text(json.dumps(saved))
    config.sampling.guide = str(guide.path)
    assert build(config).guide.config.training.label_dropout == 0.1


@pytest.mark.parametrize(
    ("section", "field", "near"),
    [("training", "batchsize", "batch_size"), ("model", "widht", "width"), ("sde", "tmin", "t_min")],
)
def test_an_unknown_field_of_a_run_s_config_is_refused_with_the_file(
    section: str, field: str, near: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    workdir = Workdir(tmp_path / "run")
    workdir.begin(toy_mixture8_mlp.get_config())
    saved = json.loads(workdir.config_file.read_text())
    saved[section][field] = 3
    workdir.config_file.write_text(json.dumps(saved))
    code, out, err = call(capsys, "--mode=sample", f"--workdir={workdir.path}")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert f"{workdir.config_file}: unknown config field '{section}.{field}'; did you mean {near!r}?" in err


def test_the_config_of_a_run_is_not_given_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "config.json").write_text(toy_mixture8_mlp.get_config().to_json_best_effort())
    code, out, err = call(
        capsys, "--mode=train", f"--config={tmp_path / 'config.json'}", f"--workdir={tmp_path / 'new'}"
    )
    assert code == 2 and out == "" and err.count("\n") == 1
    assert "config.json" in err and "Python file" in err and "left out" in err and "NameError" not in err


def test_brackets_by_the_thousand_are_damage(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        config_files.from_run(file)
