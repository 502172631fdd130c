"""The options of a loss and its parts: their names, and what ``config.training`` may say of each."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from experiment.ranges import of_section
from limits import check


def options_of(function: Callable) -> list[str]:
    """Return the names of a function's keyword arguments, which ``config.training`` has them by too."""
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]


def check_options(options: Any) -> None:
    """Raise ValueError for a field of a dataclass that is outside the range of the config's field of that name."""
    check("training.", {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}, of_section("training"))
