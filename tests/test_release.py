"""A release says one version, lists the licences of what it needs, and builds with all that belongs to it."""

import re
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

import experiment
import main
from release import address, check, licences
from tests.experiment.command import call

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (\S+) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str, str]]:
    """Version, licence and purpose of each package of the page."""
    found = ROW.findall(licences.PAGE.read_text())
    return {name: rest for name, *rest in found if name != "package" and not name.startswith("---")}


def test_the_page_of_licences_lists_what_the_locks_pin() -> None:
    running, developing = licences.pins(licences.RUNNING), licences.pins(licences.DEVELOPING)
    assert len(running) > 60 and running.keys() < developing.keys()
    found, pinned = rows(), developing | running
    assert {name: row[0] for name, row in found.items()} == {name: pin.version for name, pin in pinned.items()}
    assert {name for name, row in found.items() if row[2].startswith("running")} == running.keys()


def test_every_licence_is_known_and_is_the_one_that_the_package_states() -> None:
    """An editor who changes the page by hand, or a package that changes its licence, turns this red."""
    installed = 0
    for name, (_, licence, _) in rows().items():
        assert licences.terms(licence) <= licences.PERMISSIVE | licences.WEAK, name
        try:
            metadata(name)
        except PackageNotFoundError:
            continue
        installed += 1
        assert licences.licence(name) == licence, name
    assert installed > 150


DEVICES = {
    "cuda": {"jax-cuda12-plugin"},
    "cuda12": {"jax-cuda12-plugin"},
    "cuda13": {"jax-cuda13-plugin"},
    "tpu": {"libtpu"},
}
"""What JAX's own extras bring, as its page of installation says."""


def test_the_page_of_licences_lists_what_the_extras_ask_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every requirement of pyproject.toml is in one of the two tables, and one that is added to it has to be there."""
    second = licences.PAGE.read_text().partition("## The extras")[2]
    listed = {name: rest for name, *rest in re.findall(r"^\| (\S+) \| (.*?) \| (.*?) \|$", second, re.MULTILINE)[1:]}
    project = licences.PROJECT.read_text()
    for extra, texts in tomllib.loads(project)["project"]["optional-dependencies"].items():
        for text in texts:
            name = licences.normalised(re.split(r"[\[>=<]", text)[0])
            assert name in (rows() | listed | {"jax-score-sde": ()}), (extra, text)
            assert name in rows() or "[" in text or extra in listed[name][1].split(", ")
    devices = {extra: {name for name, row in listed.items() if extra in row[1].split(", ")} for extra in DEVICES}
    assert devices == DEVICES
    asked = licences.extras()
    assert listed == {name: [licences.OF_EXTRAS[name], ", ".join(asked[name])] for name in asked}
    assert asked.keys() == licences.OF_EXTRAS.keys()
    assert {name for name, row in listed.items() if not licences.terms(row[0]) <= licences.PERMISSIVE} == {"libtpu"}
    (tmp_path / "pyproject.toml").write_text(project.replace('wandb = ["wandb>=0.19"]', 'wandb = ["new_one>=1"]'))
    monkeypatch.setattr(licences, "PROJECT", tmp_path / "pyproject.toml")
    with pytest.raises(ValueError, match="the package index states of new-one"):
        licences.page()


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("a-b==1.0 \\\n    --hash=sha256:00\n", {"a-b": ("1.0", "")}),
        ("A_b.c==2 ; os_name == 'nt' \\\n    --hash=x\n", {"a-b-c": ("2", "os_name == 'nt'")}),
        ("a==1 ; x < '2' \\\n  --hash=x\na==2 ; x >= '2' \\\n", {"a": ("1, 2", "")}),
        ("    # via a==3\n", {}),
    ],
)
def test_a_lock_file_is_read(text: str, pins: dict, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(text)
    assert {name: pin[1:] for name, pin in licences.pins(tmp_path / "lock").items()} == pins


def test_a_licence_that_is_not_known_is_no_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    from email.message import Message

    said = Message()
    said["License"] = "Proprietary"
    monkeypatch.setattr(licences, "metadata", lambda name: said)
    with pytest.raises(ValueError, match="says 'Proprietary' and \\[\\] of its licence"):
        licences.licence("thing")
    said["Classifier"] = "License :: OSI Approved :: MIT License"
    assert licences.licence("thing") == "MIT"
    assert licences.terms("Apache-2.0 AND (BSD-3-Clause OR MIT)") == {"Apache-2.0", "BSD-3-Clause", "MIT"}


def test_the_version_is_that_of_pyproject(capsys: pytest.CaptureFixture) -> None:
    written = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert written and experiment.__version__ == written[1]
    code, out, err = call(capsys, "--version")
    assert (code, out, err) == (0, f"jax-score-sde {written[1]}\n", "")
    assert not any("version" in note and "CITATION" in note for note in check.amiss())


def test_notebooks_name_the_repository_of_pyproject() -> None:
    """Both forms of each, in the badge and in the cell that installs the project."""
    for path in address.files():
        text = path.read_text()
        assert address.addressed(text) == text, f"{path.name}: make links"
        assert address.badge(path.stem) in text and text.count(address.repository()) == 1, path.name
    place = 'https://colab.research.google.com/github/{0}/blob repository = "https://github.com/{0}"'
    form = place + ' repository = \\"https://github.com/{0}\\" https://github.com/other/place'
    where = address.repository().removeprefix("https://github.com/")
    assert address.addressed(form.format("e.f/g-h")) == form.format(where)


def test_an_interpreter_that_does_not_run_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "python3.99").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.99").chmod(0o755)
    assert check.is_there(sys.executable)
    assert not check.is_there(str(tmp_path / "python3.99")) and not check.is_there("no-such-python")


def test_what_is_left_out_of_a_build_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run", lambda *_, **__: "main.py\nsde_lib/vp.py\ndocs/a.md\ntests/t.py\nexamples/e.py\n")
    source, wheel = tmp_path / "a.tar.gz", tmp_path / "a.whl"
    (tmp_path / "file").write_text("")
    with tarfile.open(source, "w:gz") as archive:
        for name in ("main.py", "sde_lib/vp.py", "examples/e.py"):
            archive.add(tmp_path / "file", f"a-1/{name}")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("main.py", "")
    assert list(check.missing(source, wheel)) == ["sde_lib/vp.py is not in a.whl", "docs/a.md is not in a.tar.gz"]


def test_a_config_of_an_installed_project_is_found_where_it_does_not_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = main.config_of("configs/vp/digits.py", str(tmp_path / "run"))
    assert config.data.dataset == "digits" and config.training.n_iters == 1200
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text("from configs.vp.digits import get_config\n")
    assert main.config_of("configs/mine.py", str(tmp_path / "run")).to_dict() == config.to_dict()


@pytest.mark.slow
def test_the_commit_builds_with_all_that_belongs_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, with the same bytes; installing and using it is `make release-check`."""
    monkeypatch.setattr(check, "keep", lambda *_: None)
    built = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        source, wheel = check.build(tmp_path / name)
        assert list(check.missing(source, wheel)) == []
        assert "experiment/pretrained/digits.safetensors" in zipfile.ZipFile(wheel).namelist()
        built.append((source.read_bytes(), wheel.read_bytes()))
    assert built[0][1] == built[1][1]
    assert built[0][0] == built[1][0]
