"""The points of a sweep: every combination of the values that ``sweep.axes`` gives to fields of a config.

Each of its texts is an axis: ``optim.lr=1e-3,3e-3`` gives one field several values, and
``training.n_iters,optim.decay_steps=(600,600),(1200,1200)`` gives several fields values that go together. A value is
written as on the command line; commas within brackets or quotes belong to it.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import default
from experiment import fields
from experiment.config_files import canonical
from experiment.workdir import flatten

MOST = 1000
"""A sweep has at most so many points."""
LONGEST = 100
"""The name of a point's folder is cut behind so many characters, its number aside."""
OPENING, CLOSING, QUOTES = "([{", ")]}", "'\""
FORM = "'FIELD=VALUE,VALUE,...', such as 'optim.lr=1e-3,3e-3', or 'FIELD,FIELD=(VALUE,VALUE),(VALUE,VALUE),...'"


class Axis(NamedTuple):
    """Fields that are changed together, by their dotted names, and the texts of their values at each place."""

    names: tuple[str, ...]
    places: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Point:
    """One combination of values.

    Attributes:
      number: its place in the sweep, from 0; the last axis changes fastest.
      values: the text of each field that is swept.
      folder: the name of its run's folder within that of the sweep.
      config: the config of its run, which knows nothing of the sweep.
    """

    number: int
    values: dict[str, str]
    folder: str
    config: ConfigDict


def base(config: ConfigDict) -> ConfigDict:
    """The config without its sweep, of which the points differ in what is swept."""
    found = ConfigDict(config.to_dict())
    found.sweep = default.get_config().sweep
    return found.lock()


def points(config: ConfigDict) -> list[Point]:
    """All points of ``config.sweep.axes``.

    Raises:
      ValueError: no axis, one that is not written as an axis, a field that is not known or that two axes have, a value
        that the field does not take, two points that are the same, or more than `MOST`.
    """
    axes = [_axis(text) for text in config.sweep.axes]
    if not axes:
        raise ValueError(f"sweep.axes is empty, so there is nothing to sweep; give it texts, each {FORM}")
    names = [name for axis in axes for name in axis.names]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sweep.axes has {name!r} twice; name each field once, with all of its values")
        if name.split(".")[0] == "sweep":
            raise ValueError(f"sweep.axes has {name!r}, which says what is swept; name a field of the runs")
    count = 1
    for axis in axes:
        count *= len(axis.places)
    if count > MOST:
        raise ValueError(f"sweep.axes has {count} combinations; a sweep has at most {MOST}: give fewer values")
    short, plain, found = _short(names), base(config), list[Point]()
    seen: dict[str, dict[str, str]] = {}
    for number, places in enumerate(itertools.product(*(axis.places for axis in axes))):
        values = dict(zip(names, itertools.chain(*places), strict=True))
        changed = canonical(fields.override(plain, list(values.items())))
        run = repr(sorted(flatten(changed.to_dict()).items()))
        if run in seen:
            raise ValueError(f"sweep.axes has two points that are the same run, {seen[run]} and {values}; give it once")
        seen[run] = values
        label = "_".join(f"{short[name]}={text}" for name, text in values.items())
        name = re.sub(r"[^\w.+=-]+", "-", label, flags=re.ASCII)[:LONGEST].rstrip("-.")
        found.append(Point(number, values, f"{number:0{len(str(count - 1))}d}_{name}", changed))
    return found


def _axis(text: str) -> Axis:
    """The axis that a text writes; ValueError where it is none."""
    left, equals, right = text.partition("=")
    names = tuple(name.strip() for name in left.split(","))
    texts = list(_split(right, text))
    if not (equals and all(names) and all(texts)):
        raise ValueError(f"sweep.axes has {text!r}; each of its texts is {FORM}")
    if len(names) == 1:
        return Axis(names, tuple((_unquoted(each),) for each in texts))
    places = [tuple(_unquoted(part) for part in _split(each[1:-1], text)) for each in texts]
    for each, parts in zip(texts, places, strict=True):
        if (each[0], each[-1]) not in (("(", ")"), ("[", "]")) or len(parts) != len(names) or not all(parts):
            raise ValueError(
                f"sweep.axes has {text!r}, whose {each!r} gives no value to each of {', '.join(names)}; needed is "
                f"({', '.join('VALUE' for _ in names)})"
            )
    return Axis(names, tuple(places))


def _split(text: str, axis: str) -> Iterator[str]:
    """The parts of a text between its commas, but for those within brackets or quotes.

    Raises:
      ValueError: a bracket or a quote has no partner; the message names the axis that the text is part of.
    """
    left, quote, part = "", "", ""  # the brackets that are still to come, the innermost first
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in QUOTES:
            quote = sign
        elif sign in OPENING:
            left = CLOSING[OPENING.index(sign)] + left
        elif sign in CLOSING:
            if sign != left[:1]:
                raise ValueError(
                    _alone(axis, f"a {sign!r} where {repr(left[0]) if left else 'no bracket'} is to close")
                )
            left = left[1:]
        if sign == "," and not left and not quote:
            yield part.strip()
            part = ""
        else:
            part += sign
    if missing := quote or left[:1]:
        raise ValueError(_alone(axis, f"no {missing!r} behind {part.strip()!r}"))
    yield part.strip()


def _alone(axis: str, what: str) -> str:
    """The message about an axis with a bracket or a quote that has no partner."""
    return f"sweep.axes has {axis!r}, with {what}; brackets go in pairs, and so do quotes, within which any sign may be"


def _unquoted(text: str) -> str:
    """The text without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES else text


def _short(names: list[str]) -> dict[str, str]:
    """The last part of each dotted name, or the whole where two have the same."""
    last = {name: name.rpartition(".")[2] for name in names}
    return {name: part if list(last.values()).count(part) == 1 else name for name, part in last.items()}
