"""The fields that a config may have, and how the command line sets one of them.

They are those of configs/default.py and, in the sections that describe an object by its name, the keyword arguments of
its constructor, whether the config mentions them or not: `sde` (sde_lib.SDES), `model` (models.MODELS), `data`
(data.SOURCES), and `sampling`, which has the options of every sampler (samplers.Settings).
"""

import ast
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ml_collections import ConfigDict

import data
import limits
import models
import samplers
import sde_lib
from configs import default
from experiment.config_files import NAMED, complete

ANYTHING = None | bool | int | float | tuple | str
NAMES = ("sde.name", "sde.schedule", "model.name", "data.dataset")
"""These fields decide which other fields there are, and are set before them."""
OPEN = ("published",)  # a section of notes, which nothing reads by name
OF_DATA = ("image_size", "num_channels", "centered", "shape")  # of networks, given by the section data


def known(config: ConfigDict, section: str) -> dict[str, Any]:
    """The fields of a section and the type of each, as an annotation.

    Raises:
      ValueError: the section names a process, network or data set that there is not.
    """
    return {name: _type_of(value) for name, value in config[section].items()} | _options(config, section)


def _options(config: ConfigDict, section: str) -> dict[str, Any]:
    """The options of what a section names, and their types; other sections have none."""
    if section == "sde":
        return sde_lib.options_of(config.sde.name, config.sde.get("schedule"))
    if section == "model":
        options = {k: v for k, v in models.options_of(config.model.name).items() if k not in OF_DATA}
        return {"num_scales": int | None} | options  # of discrete training, whether the network is told of it or not
    if section == "data":
        return data.options_of(config.data.dataset) | {"image_size": limits.Sides, "num_channels": int}
    if section == "sampling":
        return {name: option.kind for name, option in limits.declared(samplers.Settings).items()}
    return {}


def check(config: ConfigDict, where: str = "") -> None:
    """Refuse a field that nothing reads.

    Args:
      config: the config. Without `where` its sections sde, model and data are left to their constructors.
      where: the file that it was read from, which the message names.

    Raises:
      ValueError: an unknown field, with the known ones and the nearest.
    """
    for section, fields in default.get_config().items():
        if not isinstance(fields, ConfigDict) or section in OPEN or (section in NAMED and not where):
            continue
        try:
            known_names = {**fields, **_options(config, section)}
            for name in config[section]:
                if name not in known_names:
                    raise ValueError(_unknown(config, f"{section}.{name}", known_names))
        except ValueError as error:
            raise ValueError(f"{where}: {error}" if where else str(error)) from error


def override(config: ConfigDict, changes: Sequence[tuple[str, str | None]]) -> ConfigDict:
    """A copy of the config with these fields set, in any order: pairs of a dotted name and the command line's text.

    A text of None is True, for fields that may be that. A tuple given in several pieces is all of them. A whole
    section may be given as a dictionary.

    Raises:
      ValueError: an unknown field, with the known ones and the nearest; or a text that is not of the field's type.
    """
    config = ConfigDict(config.to_dict())
    if not changes:
        return config.lock()
    texts: dict[str, list[str | None]] = {}
    for field, text in changes:
        texts.setdefault(field, []).append(text)
    order = ("", *NAMES)  # sections and seed, names, all others

    def rank(field: str) -> int:
        return order.index(field) if field in order else 0 if "." not in field else len(order)

    with config.ignore_type():
        for field in sorted(texts, key=rank):
            section, dot, name = field.partition(".")
            beside = _fields_beside(config, section if dot else "")
            if (name if dot else section) not in beside:
                raise ValueError(_unknown(config, field, beside))
            if dot:
                config[section][name] = _read(field, texts[field], beside[name])
            else:
                value = _read(field, texts[field], beside[section])
                config = complete(config.to_dict() | {section: value}, "the command line").unlock()
    return config.lock()


def _fields_beside(config: ConfigDict, section: str) -> dict[str, Any]:
    """The fields of that section, or of the whole config for ''; there are none where there is no such section."""
    if not section:
        return {name: _type_of(value) for name, value in config.items()}
    return known(config, section) if isinstance(config.get(section), ConfigDict) else {}


def _unknown(config: ConfigDict, field: str, beside: Iterable[str]) -> str:
    section, dot, name = field.partition(".")
    beside = list(beside)
    if not dot or not beside:  # no such section, or no such field beside the sections
        section, name, beside = "", section, list(config)
    near = difflib.get_close_matches(name, beside, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    if not near:
        sections = [s for s, value in config.items() if isinstance(value, ConfigDict)]
        elsewhere = [f"{s}.{name}" for s in sections if s != section and name in known(config, s)]
        hint = f"; there is {' and '.join(elsewhere)}." if elsewhere else "."
    of = f" of {section}" if section else ""
    if section in ("sde", "model", "data"):
        of += f" ({config[section]['dataset' if section == 'data' else 'name']})"
    return (
        f"unknown config field {field!r}{hint} The known fields{of} are {', '.join(sorted(beside))}; "
        "configs/default.py and the constructors say what they mean"
    )


def _type_of(value: Any) -> Any:
    """A type that the field of a value might have been annotated with."""
    if isinstance(value, ConfigDict):
        return dict
    if value is None:
        return Any
    if isinstance(value, tuple) and value and len({type(v) for v in value}) == 1:
        return tuple[type(value[0]), ...]  # type: ignore[misc]
    return type(value)


def _read(field: str, texts: list[str | None], annotation: Any) -> Any:
    """The value that the texts mean for a field of this type."""
    kinds = sorted(_kinds(annotation) or _kinds(ANYTHING), key=lambda kind: list(READERS).index(kind[0]))
    joined = len(texts) > 1 and kinds[-1][0] is tuple and all(kind is not int for kind, _ in kinds)
    pieces = texts if joined else texts[-1:]
    values = [_read_one(field, text, kinds) for text in pieces]
    return tuple(part for value in values for part in value) if joined else values[0]


def _read_one(field: str, text: str | None, kinds: list[tuple[type, Any]]) -> Any:
    if text is None and any(kind is bool for kind, _ in kinds):
        return True
    for kind, element in kinds:
        try:
            if text is not None:
                return READERS[kind][0](text, element)
        except (ValueError, KeyError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    needed = " or ".join(
        dict.fromkeys(READERS[kind][1] + ELEMENTS.get(element, "") for kind, element in reversed(kinds))
    )
    given = "without a value" if text is None else f"is {text!r}"
    raise ValueError(f"config.{field} {given}; needed is {needed}")


def _kinds(annotation: Any) -> list[tuple[type, Any]]:
    """Every plain type that an annotation allows, as pairs (type, type of its elements)."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in _kinds(part)]
    plain = origin or annotation
    if isinstance(plain, type) and issubclass(plain, Sequence) and plain is not str:
        elements = [part for part in typing.get_args(annotation) if part is not Ellipsis]
        return [(tuple, elements[0] if elements else object)]
    return [(plain, object)] if isinstance(plain, type) and plain in READERS else []


def _tuple(text: str, element: Any) -> tuple:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if element not in (str, object) or text[:1] in ("(", "["):
            raise
        value = text  # a single text without its quotes
    value = tuple(value) if isinstance(value, tuple | list) else (value,)
    allowed = (int, float) if element is float else element
    if not all(isinstance(v, allowed) and (element is object or not isinstance(v, bool)) for v in value):
        raise ValueError
    return value


TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
READERS: dict[type, tuple[Callable[[str, Any], Any], str]] = {
    types.NoneType: (lambda text, _: {"None": None}[text], "None"),
    bool: (lambda text, _: TRUTH[text.lower()], "True or False"),
    int: (lambda text, _: int(text), "a whole number"),
    float: (lambda text, _: float(text), "a number"),
    tuple: (_tuple, "a tuple"),
    dict: (lambda text, _: {**ast.literal_eval(text)}, "a dictionary of fields"),
    str: (lambda text, _: text, "a text"),
}
"""The types that a text may stand for, from the narrowest to the widest: how each is read, and what it is called."""
ELEMENTS = {int: " of whole numbers, such as '(1, 2)'", float: " of numbers, such as '(0.5, 1)'", str: " of texts"}
