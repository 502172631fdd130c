"""The version of the project, which stands in pyproject.toml alone."""

import tomllib
from importlib.metadata import version as installed
from pathlib import Path

NAME = "jax-score-sde"


def version() -> str:
    """The version in the pyproject.toml beside the code, or of the installed package where there is none.

    A clone is asked for its own: what was installed in place keeps the version of that day.
    """
    file = Path(__file__).parents[1] / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text()).get("project", {})
        if project.get("name") == NAME:
            return project["version"]
    return installed(NAME)
