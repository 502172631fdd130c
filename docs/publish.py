"""What `make docs` does around the generator of the site: `pages` before it, and `check` after it.

    python docs/publish.py pages     # README, docs/ and a page for each room of the API to build/docs
    zensical build --strict          # build/docs to build/site, by mkdocs.yml
    python docs/publish.py check     # every link of build/site leads somewhere, and nothing is loaded from afar

Pages are written for readers of the repository, where a link leads to a file. On the site a link to another page leads
to that page, a link to a source file to its part of the API reference, and a link to any other file to a copy of it.
"""

import ast
import html.parser
import os
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PAGES, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"
OF_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/README.md": "contents.md",
}
"""The pages whose names on the site are not those that they have within docs/."""

FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
API = re.compile(r"api/(\w+)\.md")


def listed(config: str) -> list[str]:
    """Return the pages that the text of mkdocs.yml names in its navigation, in order."""
    navigation = re.search(r"^nav:\n(.*?)^\S", config, re.MULTILINE | re.DOTALL)
    return re.findall(r": (\S+\.md)$", navigation[1], re.MULTILINE) if navigation else []


def sources(root: Path = ROOT) -> dict[str, str]:
    """Return the page of the site that each page of the repository becomes, both by their paths."""
    written = sorted(path.relative_to(root).as_posix() for path in (root / "docs").rglob("*.md"))
    return OF_ROOT | {path: path.removeprefix("docs/") for path in written if path not in OF_ROOT}


def misplaced(named: list[str], written: list[str], rooms: list[str]) -> list[str]:
    """Return what is wrong with the navigation, a line each: pages that it lacks, and pages that are not there."""
    there = {*written, *(f"api/{room}.md" for room in rooms)}
    lines = [f"mkdocs.yml: nav does not name {page}; add it" for page in sorted(there - set(named))]
    lines += [f"mkdocs.yml: nav names {page}, which is not there" for page in sorted(set(named) - there)]
    return lines + [f"mkdocs.yml: nav names {page} twice" for page in sorted(set(named)) if named.count(page) > 1]


def lost(text: str, source: str, root: Path = ROOT) -> list[str]:
    """Return the links of a page that lead to no file of the repository, a line each.

    Args:
      text: the page, in Markdown; its blocks of code have no links.
      source: its path in the repository.
      root: the repository.
    """
    links = [(link, link.partition("#")[0]) for _, link in LINK.findall(FENCED.sub("", text))]
    folder = (root / source).parent
    return [
        f"{source} links to {link}, which is not there; mend the link"
        for link, path in links
        if path and "://" not in path and not (folder / path).is_file()
    ]


def modules(room: str, root: Path = ROOT) -> list[str]:
    """Return the dotted names of a room's public modules, the room itself first."""
    folder = root / room
    if not folder.is_dir():
        return [room]
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(name.startswith("_") for name in names):
            found.append(".".join(names))
    return sorted(found)


def offered(room: str, root: Path = ROOT) -> dict[str, str]:
    """Return what can be imported from a room itself: its public names, and where the API reference has each."""
    file = root / room / "__init__.py"
    if not file.is_file():
        return {}
    found: dict[str, str] = {}
    body = ast.parse(file.read_text()).body
    for node in body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == room:
            names = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = {node.name: f"{room}.{node.name}"}
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id: f"{room}.{target.id}" for target in targets if isinstance(target, ast.Name)}
        else:
            names = {}
        found |= names
    said = [
        ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign) and _defined(node) == ["__all__"]
    ]
    names = said[0] if said else [name for name in found if not name.startswith("_")]
    return {name: found[name] for name in sorted(names, key=str.lower)}


def api_page(room: str, root: Path = ROOT) -> str:
    """Return the page of a room: what it offers, then every public module with its public names."""
    lines = [f"# {room}", ""]
    names = offered(room, root)
    if names:
        links = ",\n".join(f"[`{name}`][{place}]" for name, place in names.items())
        lines += [f"These names can be imported from `{room}` itself: {links}.", ""]
    for module in modules(room, root):
        lines += [f"::: {module}", ""]
    return "\n".join(lines)


def moved(
    text: str, source: str, target: str, pages: dict[str, str], rooms: list[str], root: Path = ROOT
) -> tuple[str, set[str]]:
    """Return a page's text with the links that it has on the site, and the files that have to lie beside it there.

    Args:
      text: the page, in Markdown.
      source, target: its path in the repository, and on the site.
      pages: `sources`.
      rooms: the rooms that have a page in the API reference.
      root: the repository.
    """
    copied: set[str] = set()

    def link(match: re.Match[str]) -> str:
        words, (path, _, anchor) = match[1], match[2].partition("#")
        if not path or "://" in path:
            return match[0]
        there = os.path.relpath(root / Path(source).parent / path, root).replace(os.sep, "/")
        here = Path(target).parent
        if there in pages:
            led = os.path.relpath(pages[there], here) + (f"#{anchor}" if anchor else "")
            return f"[{words}]({led.replace(os.sep, '/')})"
        module = there.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if there.endswith(".py") and module.split(".")[0] in rooms:
            symbol = re.fullmatch(r"`([A-Za-z_][\w.]*)`", words)
            known = symbol and defines(root / there, symbol[1])
            return f"[{words}][{module}.{symbol[1]}]" if symbol and known else f"[{words}][{module}]"
        copied.add(there)
        led = os.path.relpath(there.removeprefix("docs/"), here).replace(os.sep, "/")
        return f"[{words}]({led})"

    parts = FENCED.split(text)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts)), copied


def defines(file: Path, symbol: str) -> bool:
    """Return whether a source file defines that name at its top, or as `Class.name` within a class there."""
    body = ast.parse(file.read_text()).body
    *outer, last = symbol.split(".")
    for name in outer:
        inner = [node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name]
        if not inner:
            return False
        body = inner[0]
    return last in {name for node in body for name in _defined(node)}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def write(root: Path = ROOT, folder: Path = PAGES) -> None:
    """Write the pages of the site, and what lies beside them, to a folder that is emptied first.

    Raises:
      SystemExit: the navigation of mkdocs.yml lacks a page, or names one that is not there, or a page links to a file
        that is not there; a line for each.
    """
    named, pages = listed((root / "mkdocs.yml").read_text()), sources(root)
    rooms = [match[1] for page in named if (match := API.fullmatch(page))]
    wrong = misplaced(named, list(pages.values()), rooms)
    wrong += [line for source in pages for line in lost((root / source).read_text(), source, root)]
    if wrong:
        raise SystemExit("\n".join(wrong))
    shutil.rmtree(folder, ignore_errors=True)
    beside = {path.relative_to(root).as_posix() for path in (root / "docs" / "assets").rglob("*") if path.is_file()}
    texts = {f"api/{room}.md": api_page(room, root) for room in rooms}
    for source, target in pages.items():
        texts[target], files = moved((root / source).read_text(), source, target, pages, rooms, root)
        beside |= files
    for target, text in texts.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / target).write_text(text)
    for file in sorted(beside):
        copy = folder / file.removeprefix("docs/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, copy)


class Parsed(html.parser.HTMLParser):
    """What a page of the site refers to, and the places in it that links can lead to.

    Attributes:
      links: where its links lead.
      loaded: what a browser fetches to show it: scripts, styles, pictures, fonts.
      places: the ids in it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag refers to."""
        given = {name: value for name, value in attrs if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loaded.append(given.get("href", ""))
        elif tag in ("script", "img", "source", "iframe") and "src" in given:
            self.loaded.append(given["src"])


def broken(folder: Path = SITE) -> list[str]:
    """Return what is wrong with a site, a line each: links that lead nowhere, and what is loaded from another host."""
    pages = {path: Parsed(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    lines = []
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        lines += [f"{name} loads {url}" for url in page.loaded if urlsplit(url).netloc]
        for url in page.links + page.loaded:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or name == "404.html":
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            missing = parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places
            if not target.is_file() or (missing and not parts.fragment.startswith("__")):
                lines.append(f"{name} links to {url}, which is not there")
    return sorted(set(lines))


def main(step: str) -> None:
    """Do one of the two steps; a site with a fault ends with exit code 1 and a line for each."""
    if step == "pages":
        write()
    elif step == "check":
        lines = broken()
        if lines:
            raise SystemExit("\n".join(lines))
    else:
        raise SystemExit(f"docs/publish.py {step}: known are pages and check")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["nothing"])
