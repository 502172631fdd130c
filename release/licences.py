"""The licence of every package that the lock files name, as a page: docs/licences.md.

    python -m release.licences

A licence is what the installed package says of itself: its SPDX expression, or else its short name, or else its
classifier. Of a package that is for other platforms alone, and so is not installed here, `ELSEWHERE` says it.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
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
    *("0BSD", "AFL-2.1", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0"),
    *("MIT-CMU", "PSF-2.0", "Zlib"),
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


def page() -> str:
    """The whole page."""
    running, developing = pins(RUNNING), pins(DEVELOPING)
    rows = []
    for name, pin in sorted((developing | running).items()):
        needed = "running" if name in running else "developing"
        platforms = pin.marker.replace("|", "or").replace('"', "'")
        rows.append(f"| {name} | {pin.version} | {licence(name)} | {needed}{f', {platforms}' if platforms else ''} |")
    return "\n".join([*HEAD, *rows, ""])


HEAD = [
    "# Licences",
    "",
    "The project is under the Apache License 2.0. This page lists every package that `requirements.lock` (for running)",
    "and `requirements-dev.lock` (for tests, linters and notebooks) pin, with the licence that it states.",
    "`make licences` writes it, and a test compares it with both files. All licences are permissive, but for MPL-2.0,",
    "which asks for the source of changed files of the package itself.",
    "",
    "| package | version | licence | for |",
    "|---|---|---|---|",
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
