"""The licence of every package that the lock files name or an extra asks for, as a page: docs/licences.md.

    python -m release.licences

A licence is what the installed package says of itself: its SPDX expression, or else its short name, or else its
classifier. Of a package that is for other platforms alone, and so is not installed here, `ELSEWHERE` says it; of those
that the extras of pyproject.toml ask for beside the lock files, `OF_EXTRAS`.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
PROJECT = ROOT / "pyproject.toml"
RUNNING, DEVELOPING = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^ \\;]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)

ELSEWHERE = {
    "appnope": "BSD-2-Clause",
    "colorama": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",
    "nest-asyncio": "BSD-2-Clause",
    "pywinpty": "MIT",
}
"""The licences of packages that no Linux machine installs, as their files say."""

OF_EXTRAS = {
    "diffusers": "Apache-2.0",
    "jax-cuda12-plugin": "Apache-2.0",
    "jax-cuda13-plugin": "Apache-2.0",
    "libtpu": "Google Cloud Platform Terms of Service",
    "mlflow-skinny": "Apache-2.0",
    "tensorflow": "Apache-2.0",
    "torch": "Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSD-2-Clause AND BSD-3-Clause AND BSL-1.0 AND MIT",
    "wandb": "MIT",
}
"""The licences of packages that extras ask for beside the lock files, as the package index stated in November 2026."""

SPDX = (
    ("Apache", "Apache-2.0"),
    ("MPL|Mozilla Public License 2", "MPL-2.0"),
    ("BSD.?3|3.Clause BSD", "BSD-3-Clause"),
    ("BSD.?2", "BSD-2-Clause"),
    ("BSD", "BSD"),
    ("PSF|Python Software Foundation", "PSF-2.0"),
    ("ISC", "ISC"),
    ("MIT", "MIT"),
)
"""Names that packages give licences, and the identifier of each; the first that is found counts."""
PERMISSIVE = {
    *("0BSD", "AFL-2.1", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC"),
    *("LLVM-exception", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib"),
}
"""Licences that ask for no more than a notice."""
WEAK = {"MPL-2.0"}
"""Licences that ask for the source of changed files of the package itself."""
SHORT = 40


class Pin(NamedTuple):
    """A package of a lock file, by its normalised name, and on which platforms it is installed ("": on all)."""

    name: str
    version: str
    marker: str


def pins(lock: Path) -> dict[str, Pin]:
    """The packages of a lock file; of one with several versions all versions, separated by a comma."""
    found: dict[str, Pin] = {}
    for name, version, marker in PIN.findall(lock.read_text()):
        name = normalised(name)
        before = found.get(name)
        versions = f"{before.version}, {version}" if before else version
        found[name] = Pin(name, versions, marker if not before else "")
    return found


def normalised(name: str) -> str:
    """The name as package registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """The licence of a package, as an SPDX expression, or "BSD" where it does not say which.

    Raises:
      ValueError: it is neither installed nor among `ELSEWHERE`, or says nothing that is known here.
    """
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        if name in ELSEWHERE:
            return ELSEWHERE[name]
        raise ValueError(
            f"{name} is not installed; make install, or add its licence to ELSEWHERE if it is of other platforms"
        ) from None
    if expression := facts.get("License-Expression"):
        return expression
    said = " ".join((facts.get("License") or "").split())
    classifiers = [text.rpartition(":: ")[2] for text in facts.get_all("Classifier") or () if "License ::" in text]
    if re.search(r" (AND|OR) ", said) and len(said) <= SHORT:
        return said
    if name_of := identifier(said) if len(said) <= SHORT else None:
        return name_of
    known = dict.fromkeys(filter(None, map(identifier, classifiers)))
    if not known and (full := identifier(said[:200])):
        known = {full: None}
    if not known:
        raise ValueError(f"{name} says {said[:SHORT]!r} and {classifiers} of its licence, which is not known here")
    return " OR ".join(known)


def identifier(text: str) -> str | None:
    """The SPDX identifier of a licence that a package names; None of a name that is not known."""
    return next((short for pattern, short in SPDX if re.search(pattern, text)), None)


def terms(expression: str) -> set[str]:
    """The identifiers in an SPDX expression."""
    return set(re.split(r" AND | OR | WITH |[() ]+", expression)) - {""}


def extras() -> dict[str, list[str]]:
    """The packages that extras of pyproject.toml ask for beside the lock files, each with the names of these extras."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    pinned, found = pins(DEVELOPING) | pins(RUNNING), dict[str, list[str]]()

    def asked(text: str) -> Iterator[str]:
        """The package of a requirement; where it asks for extras of one that is pinned, what these add to it."""
        requirement = Requirement(text)
        if not requirement.extras:
            yield normalised(requirement.name)
        for extra in requirement.extras:
            if requirement.name == project["name"]:
                for each in project["optional-dependencies"][extra]:
                    yield from asked(each)
            else:
                added = map(Requirement, requires(requirement.name) or ())
                yield from (normalised(each.name) for each in added if _is_of(extra, each))

    for extra, texts in sorted(project["optional-dependencies"].items()):
        for name in {name for text in texts for name in asked(text)} - pinned.keys():
            found.setdefault(name, []).append(extra)
    return dict(sorted(found.items()))


def _is_of(extra: str, requirement: Requirement) -> bool:
    """Whether it is that extra that brings a requirement."""
    marker = requirement.marker
    return bool(marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}))


def page() -> str:
    """The whole page."""
    running, developing = pins(RUNNING), pins(DEVELOPING)
    rows = []
    for name, pin in sorted((developing | running).items()):
        needed = "running" if name in running else "developing"
        platforms = pin.marker.replace("|", "or").replace('"', "'")
        rows.append(f"| {name} | {pin.version} | {licence(name)} | {needed}{f', {platforms}' if platforms else ''} |")
    added = extras()
    if unknown := added.keys() - OF_EXTRAS.keys():
        raise ValueError(f"add to OF_EXTRAS what the package index states of {', '.join(sorted(unknown))}")
    rows += HEAD_OF_EXTRAS
    rows += [f"| {name} | {OF_EXTRAS[name]} | {', '.join(asking)} |" for name, asking in added.items()]
    return "\n".join([*HEAD, *rows, ""])


HEAD = [
    "# Licences",
    "",
    "The project is under the Apache License 2.0. This page lists every package that `requirements.lock` (for running)",
    "and `requirements-dev.lock` (for tests, linters and notebooks) pin, with the licence that it states.",
    "`make licences` writes it, and a test compares it with both files. All licences of this table are permissive, but",
    "for MPL-2.0, which asks for the source of changed files of the package itself. [The extras](#the-extras) follow.",
    "",
    "| package | version | licence | for |",
    "|---|---|---|---|",
]


HEAD_OF_EXTRAS = [
    "",
    "## The extras",
    "",
    "The extras of `pyproject.toml` ask for these packages beside those above. They are not pinned; a licence is what",
    "the newest release stated on the package index in November 2026. All are permissive, but for what drives devices:",
    "`libtpu` is under the terms of Google Cloud, and the libraries of NVIDIA (`nvidia-*`), which `jax-cuda12-plugin`,",
    "`jax-cuda13-plugin` and, on Linux, `torch` bring, are proprietary (`LicenseRef-NVIDIA-Proprietary`). Read these",
    "terms before you pass on an environment or an image with them. What else these packages bring is not listed.",
    "",
    "| package | licence | extra |",
    "|---|---|---|",
]


def main() -> None:
    """Write the page."""
    try:
        PAGE.write_text(page())
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
