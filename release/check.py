"""Whether a release of what is committed would work for whoever installs it.

    make release-check
    python -m release.check --python=python3.12 --python=python3.13

The commit is built where nothing else lies: a source distribution, and from that the wheel. The wheel is installed into
a fresh environment for each Python that is at hand, with the packages of requirements.lock, and is used outside of the
repository: it draws from the run that it ships, trains, samples. What is built goes to dist/, with its SHA-256.
"""

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from release import address

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
"""The interpreters that the project supports."""
NOT_IN_SOURCE = (".ci/", ".gitignore", "tests/")
"""These parts of the repository are not in the source distribution; tests need references of 30 MB."""
NOT_IN_WHEEL = ("benchmarks/", "docs/", "examples/", "notebooks/", "release/", "tests/")
"""These programs of the repository are not in the wheel."""
IN_WHEEL = (".py", ".safetensors", ".css", ".html", ".js")
"""Files of all other folders whose names end so are."""
TRAINED = "--config=configs/vp/toy_mixture8_mlp.py"
SMALL = ["--config.model.width=8", "--config.training.n_iters=4", "--config.training.batch_size=8"]
SMALL += ["--config.training.eval_freq=0", "--config.training.snapshot_sampling=False"]


def main(arguments: list[str] | None = None) -> None:
    """Build, install and use the commit; exit code 1 with the last lines of what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", action="append", help="an interpreter; by default each supported one that is there")
    parser.add_argument("--publish", action="store_true", help="what is amiss with the commit is an error")
    chosen = parser.parse_args(arguments)
    pythons = chosen.python or [name for name in PYTHONS if is_there(name)]
    for name in () if chosen.python else PYTHONS:
        if name not in pythons:
            print(f"{name}: not at hand, so not tried")
    with tempfile.TemporaryDirectory() as folder:
        source, wheel = build(Path(folder))
        for name in missing(source, wheel):
            sys.exit(f"error: {name}")
        for python in pythons or [sys.executable]:
            use(python, source, wheel, Path(folder))
    notes = list(amiss())
    for note in notes:
        print(f"before it is published: {note}")
    if notes and chosen.publish:
        sys.exit(1)


def is_there(python: str) -> bool:
    """Whether an interpreter runs; a name that a version manager knows and has not chosen does not."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    except OSError:
        return False


def amiss() -> Iterator[str]:
    """What keeps a commit from being published, though it builds: versions that differ, no address, loose changes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    if cited is None or cited[1] != version:
        yield f"pyproject.toml has version {version}, and CITATION.cff {cited and cited[1]}"
    newest = re.search(r"^## (\S+)(.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if newest is None or newest[1] != version or "unreleased" in newest[2]:
        yield f"pyproject.toml has version {version}, and CHANGELOG.md begins with {newest and newest[0]!r}"
    if not address.is_known():
        yield "[project.urls] Repository in pyproject.toml does not say who owns it; set it, then make links"
    if run("git", "status", "--porcelain", cwd=ROOT):
        yield "there are changes that are not committed, and so not in what was built"


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source distribution of the commit, and the wheel from that; both are kept in dist/ too."""
    clean, built = folder / "clean", folder / "built"
    clean.mkdir()
    run("git", "archive", "--output", str(folder / "commit.tar"), "HEAD", cwd=ROOT)
    run("tar", "-xf", str(folder / "commit.tar"), cwd=clean)
    date = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    source = settled(built / _backend("build_sdist", clean, built, date), int(date))
    (folder / "unpacked").mkdir()
    run("tar", "-xzf", str(source), cwd=folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    wheel = built / _backend("build_wheel", unpacked, built, date)
    keep(source, wheel)
    return source, wheel


def settled(source: Path, date: int) -> Path:
    """The source distribution with its files in order and of the commit's date, so that it is the same each time."""
    again = source.with_name(f"again-{source.name}")
    with (
        tarfile.open(source) as old,
        again.open("wb") as file,
        gzip.GzipFile("", "wb", mtime=date, fileobj=file) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = date, 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    again.replace(source)
    return source


def keep(*built: Path) -> None:
    """Copy what was built to dist/, and say how large it is, with its SHA-256."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    (ROOT / "dist").mkdir()
    for path in built:
        shutil.copy(path, ROOT / "dist")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"dist/{path.name}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")


def _backend(what: str, project: Path, built: Path, date: str) -> str:
    """Ask the build backend, setuptools, for one of both; the name of the file."""
    built.mkdir(exist_ok=True)
    code = f"import setuptools.build_meta as backend; print(backend.{what}({str(built)!r}))"
    return run(sys.executable, "-c", code, cwd=project, environment={"SOURCE_DATE_EPOCH": date}).split()[-1]


def missing(source: Path, wheel: Path) -> Iterator[str]:
    """The files of the repository that should be in one of both and are not."""
    tracked = run("git", "ls-tree", "-r", "--name-only", "HEAD", cwd=ROOT).splitlines()
    with tarfile.open(source) as archive:
        in_source = {name.partition("/")[2] for name in archive.getnames()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    for name in tracked:
        if name not in in_source and not name.startswith(NOT_IN_SOURCE):
            yield f"{name} is not in {source.name}"
        if name not in in_wheel and name.endswith(IN_WHEEL) and not name.startswith(NOT_IN_WHEEL):
            yield f"{name} is not in {wheel.name}"


def use(python: str, source: Path, wheel: Path, folder: Path) -> None:
    """Install the wheel into a fresh environment of that Python, and use it in a folder where nothing else lies."""
    name = Path(python).name
    environment, place = folder / f"environment_{name}", folder / f"place_{name}"
    (unpacked,) = (folder / "unpacked").iterdir()
    began = time.perf_counter()
    run(python, "-m", "venv", str(environment), cwd=folder)
    own = str(environment / "bin" / "python")
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--require-hashes", "-r", str(unpacked / "requirements.lock"), cwd=folder)
    run(*pip, "--no-deps", "--no-index", str(wheel), cwd=folder)
    run(own, "-m", "pip", "check", cwd=folder)
    print(f"{name}: installed in {time.perf_counter() - began:.0f} s")
    place.mkdir()
    where = run(own, "-c", "import experiment; print(experiment.__file__)", cwd=place)
    if not where.startswith(str(environment)):
        sys.exit(f"error: {name} does not use what was installed, but {where.split()[0]}")
    program = [own, "-m", "main"]
    steps = {
        "a first picture": [own, str(unpacked / "examples" / "first_picture.py"), "picture.png"],
        "the shipped run as a folder": [*program, "--mode=import", "--checkpoint=digits", "--workdir=runs/digits"],
        "its samples": [*program, "--mode=sample", "--workdir=runs/digits", "--config.sampling.method=dpmpp_2m"],
        "a training": [*program, "--mode=train", TRAINED, "--workdir=runs/toy", *SMALL],
    }
    for what, command in steps.items():
        began = time.perf_counter()
        run(*command, cwd=place)
        print(f"{name}: {what}, {time.perf_counter() - began:.0f} s")
    if not (place / "picture.png").exists() or not list((place / "runs" / "digits" / "samples").glob("*.png")):
        sys.exit(f"error: {name}: no picture was drawn")
    shutil.rmtree(environment)


def run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """The output of a command; one that fails ends the check with its last lines."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "JAX"))}
    own = kept | {"JAX_PLATFORMS": "cpu"} | (environment or {})
    done = subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
