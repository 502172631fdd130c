"""The address of the repository stands in one place, pyproject.toml, and is written from there into the notebooks.

    python -m release.address

A notebook names it twice: in the badge that opens it in Colab, and in the cell that installs the project there.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNKNOWN = "OWNER"
"""This stands for the owner of the repository as long as nobody has said who that is."""
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
NAMED = re.compile(
    r'(https://colab\.research\.google\.com/github/|repository = \\?"https://github\.com/)[\w.-]+/[\w-]+'
)
"""These come ahead of it in a notebook; in the stored form quotes are escaped."""


def repository() -> str:
    """The address of the repository, such as https://github.com/OWNER/jax-score-sde.

    Raises:
      ValueError: pyproject.toml has none on github.com, whose notebooks Colab opens.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = project.get("urls", {}).get("Repository", "")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w-]+", found):
        raise ValueError(f"[project.urls] Repository is {found!r}; needed is https://github.com/OWNER/NAME")
    return found


def is_known() -> bool:
    """Whether somebody has said where the repository is."""
    return f"/{UNKNOWN}/" not in repository()


def files() -> list[Path]:
    """The notebooks in both of their forms."""
    return sorted(path for path in (ROOT / "notebooks").iterdir() if path.suffix in (".py", ".ipynb"))


def addressed(text: str) -> str:
    """The text of a notebook with the repository's address in place of any other."""
    where = repository().removeprefix("https://github.com/")
    return NAMED.sub(lambda match: match[1] + where, text)


def badge(name: str) -> str:
    """The line of a notebook that opens it in Colab."""
    where = repository().removeprefix("https://github.com/")
    return f"[![Open in Colab]({BADGE})](https://colab.research.google.com/github/{where}/blob/main/notebooks/{name}.ipynb)"


def main() -> None:
    """Write the address into all notebooks."""
    for path in files():
        text = path.read_text()
        if (changed := addressed(text)) != text:
            path.write_text(changed)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
