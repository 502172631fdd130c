"""The pages of docs/ as a site: every page is found, every equation leads to the code that computes it."""

import ast
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
publish = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "publish.py")))
DOCS = sorted((ROOT / "docs").rglob("*.md"))
THEORY = sorted((ROOT / "docs" / "theory").glob("*.md"))
NAMED = publish.listed((ROOT / "mkdocs.yml").read_text())
ROOMS = [match[1] for page in NAMED if (match := publish.API.fullmatch(page))]

CODE = re.compile(r"\[`([A-Za-z_][\w.]*)`\]\((\S+\.py)\)")
"""A link from a name to the file that defines it."""
BLOCK = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
"""An equation of its own."""
INLINE = re.compile(r"(?<![\\$])\$([^$]+)\$(?!\$)")


def outside_code(text: str) -> str:
    """The page without its blocks and spans of code."""
    return re.sub(r"`[^`\n]*`", "", publish.FENCED.sub("", text))


def lost_names(page: Path) -> list[str]:
    """The names that a page links to a file which does not define them."""
    found = ((name, page.parent / file) for name, file in CODE.findall(page.read_text()))
    return [f"{name} in {file.name}" for name, file in found if not (file.is_file() and publish.defines(file, name))]


def bare_equations(page: str) -> list[str]:
    """The sections of a page that have equations, and no name that computes them."""
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    return [text.partition("\n")[0] for text in sections if BLOCK.search(text) and not CODE.search(text)]


def unlike(page: str) -> list[str]:
    """The formulas of a page that GitHub and the site would not read alike.

    Markdown takes a backslash in front of punctuation away before GitHub sees a formula, and a formula within a line
    must end there.
    """
    text = outside_code(page)
    formulas = BLOCK.findall(text) + INLINE.findall(BLOCK.sub("", text))
    wrong = [formula for formula in formulas if re.search(r"\\[^A-Za-z\s]", formula)]
    return wrong + [formula for formula in INLINE.findall(BLOCK.sub("", text)) if "\n" in formula]


def test_the_navigation_names_every_page_and_no_other() -> None:
    assert len(NAMED) > 40 and "index.md" in NAMED
    assert publish.misplaced(NAMED, list(publish.sources().values()), ROOMS) == []


def test_a_page_that_the_navigation_lacks_is_seen() -> None:
    found = publish.misplaced(["index.md", "gone.md", "api/x.md", "index.md"], ["index.md", "new.md"], ["x", "y"])
    assert [line.split(": ")[1] for line in found] == [
        "nav does not name api/y.md; add it",
        "nav does not name new.md; add it",
        "nav names gone.md, which is not there",
        "nav names index.md twice",
    ]


def test_the_reference_has_every_room_of_the_package() -> None:
    packages = re.search(r"^include = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages and set(re.findall(r'"(\w+)\*"', packages[1])) - {"configs"} <= set(ROOMS)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_are_defined_where_a_page_says(page: Path) -> None:
    assert lost_names(page) == []


@pytest.mark.parametrize("page", THEORY, ids=lambda page: page.stem)
def test_every_equation_leads_to_the_code(page: Path) -> None:
    assert bare_equations(page.read_text()) == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_github_and_the_site_read_the_same_formulas(page: Path) -> None:
    assert unlike(page.read_text()) == []


def test_names_equations_and_formulas_that_are_wrong_are_seen(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("A = 1\nclass B:\n    c: int = 0\n    def d(self): pass\n")
    page = tmp_path / "page.md"
    page.write_text("".join(f"[`{name}`](code.py) " for name in ("A", "B.c", "B.d", "B.e", "d")) + "[`A`](gone.py)")
    assert lost_names(page) == ["B.e in code.py", "d in code.py", "A in gone.py"]
    equation = "$$\na = b\n$$\n"
    assert bare_equations(f"# t\n## one\n{equation}[`a`](b.py)\n## two\n{equation}## three\nx\n") == ["two"]
    text = "$a \\, b$ and `$c \\, d$` and $e\nf$ and $\\alpha$\n$$\n\\left\\{ x\n$$\n```bash\n$g \\, h$\n```\n"
    assert unlike(text) == ["\\left\\{ x", "a \\, b", "e\nf"]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_code_is_seen_by_the_tests_that_run_them(page: Path) -> None:
    """A fence that is indented, or names no language, would be code that nothing runs."""
    fences = re.findall(r"^[ \t]*(?:```|~~~).*$", page.read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"```(python|bash)?", fence) for fence in fences)
    assert [bool(fence.strip("`")) for fence in fences] == [True, False] * (len(fences) // 2)


def documented(name: str) -> bool:
    """Whether what a dotted name stands for has a docstring, or a string behind its assignment."""
    module, symbol = name.rsplit(".", 1)
    path = ROOT / module.replace(".", "/")
    body = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == symbol:
            return ast.get_docstring(node) is not None
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == symbol for target in targets):
            return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    return False


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_is_in_the_reference(room: str) -> None:
    assert [name for name, place in publish.offered(room).items() if not documented(place)] == []
    page = publish.api_page(room)
    assert all(f"[`{name}`][{place}]" in page for name, place in publish.offered(room).items())
    assert all(f"::: {module}\n" in page for module in publish.modules(room))


def test_links_lead_to_pages_to_the_reference_and_to_copies(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "file.py").write_text("def f(): pass\n")
    pages = {"README.md": "index.md", "docs/theory/a.md": "theory/a.md"}
    text, copied = publish.moved(
        "[x](../../README.md#y) [`f`](../../room/file.py) [`g`](../../room/file.py) ![p](../p.png) "
        "[t](../../tests/t.py) [e](https://e.org) [h](#h)\n```bash\n[x](../../README.md)\n```\n",
        "docs/theory/a.md",
        "theory/a.md",
        pages,
        ["room"],
        tmp_path,
    )
    assert text == (
        "[x](../index.md#y) [`f`][room.file.f] [`g`][room.file] ![p](../p.png) [t](../tests/t.py) "
        "[e](https://e.org) [h](#h)\n```bash\n[x](../../README.md)\n```\n"
    )
    assert copied == {"docs/p.png", "tests/t.py"}


def test_a_link_to_a_file_that_is_not_there_is_one_line_of_page_and_link(tmp_path: Path) -> None:
    """It is said before anything is written; links to places, to other hosts and in code are none of them."""
    (tmp_path / "docs").mkdir()
    for page in (*publish.OF_ROOT, "docs/a.md"):
        (tmp_path / page).write_text("[top](#top) [far](https://e.org/x.md)\n```\n[x](code.md)\n```\n")
    names = "".join(f"  - {name}\n" for name in ("I: index.md", "C: contributing.md", "L: changelog.md"))
    (tmp_path / "mkdocs.yml").write_text(f"nav:\n{names}  - D: contents.md\n  - A: a.md\nplugins:\n")
    publish.write(tmp_path, tmp_path / "site")
    (tmp_path / "docs" / "a.md").write_text("[home](../README.md) [x](nothere.md#a) [`f`](../room/f.py)\n")
    with pytest.raises(SystemExit) as stop:
        publish.write(tmp_path, tmp_path / "other")
    assert str(stop.value).splitlines() == [
        f"docs/a.md links to {link}, which is not there; mend the link" for link in ("nothere.md#a", "../room/f.py")
    ]
    assert not (tmp_path / "other").exists()


def test_a_site_with_faults_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="sub/b.html#here">1</a><a href="sub/b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="#top">4</a><a href="https://e.org">5</a><script src="https://cdn.org/x.js"></script>'
        '<link rel="stylesheet" href="s.css"><img src="p.png">'
    )
    (tmp_path / "sub" / "b.html").write_text('<h1 id="here">B</h1><a href="../a.html">1</a><a href="..">2</a>')
    (tmp_path / "s.css").write_text("")
    assert publish.broken(tmp_path) == [
        "a.html links to c.html, which is not there",
        "a.html links to p.png, which is not there",
        "a.html links to sub/b.html#gone, which is not there",
        "a.html loads https://cdn.org/x.js",
        "sub/b.html links to .., which is not there",
    ]
