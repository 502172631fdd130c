"""What a setting may be: ranges of numbers, names and flags that say themselves in words.

Every room states the ranges of its own options with these, and `check` refuses what lies outside in one line that names
the field, what was received and what is allowed. Numbers are compared as float32, which is what computes with them: a
rate of 0.999999999 is 1 there, and is no rate below 1.
"""

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

MOST = 2**31 - 1  # JAX counts in int32
LARGEST = 1e18  # the square of what is larger overflows float32
TINY = float(np.finfo(np.float32).tiny)  # what is smaller is 0 on an accelerator
Sides = int | tuple[int, int]
"""The size of an image in pixels: one number for a square, or (height, width)."""


class Range(Protocol):
    """What a setting may be."""

    @property
    def words(self) -> str:
        """The clause of an error message that says what is allowed."""

    def allows(self, value: Any) -> bool:
        """Whether the value is allowed."""

    def refusal(self, value: Any) -> str:
        """The end of an error message, behind a value that is not allowed."""
        return f"; {self.words}"


@dataclasses.dataclass(frozen=True)
class Number(Range):
    """A number that is not NaN, between two bounds; infinity only where `infinite` says that it means something.

    Attributes:
      low, high: the bounds, which are allowed themselves.
      above, below: whether they are not: greater than `low`, less than `high`.
      whole: an integer, neither a float of a whole value nor a truth value.
      infinite: whether plus infinity is allowed too.
      note: what a reader should know of the usual values, in brackets behind the range.
    """

    low: float = -LARGEST
    high: float = LARGEST
    above: bool = False
    below: bool = False
    whole: bool = False
    infinite: bool = False
    note: str = ""

    @property
    def words(self) -> str:
        """For example "it must be a number above 0 and at most 1 (published: 0.995)"."""
        low, high = (f"{bound}" if self.whole else f"{bound:g}" for bound in (self.low, self.high))
        lower = f"{'above' if self.above else 'of at least'} {low}"
        upper = f"{'below' if self.below else 'at most'} {high}"
        infinity, note = ", or infinity" if self.infinite else "", f" ({self.note})" if self.note else ""
        return f"it must be a {'whole ' * self.whole}number {lower} and {upper}{infinity}{note}"

    def allows(self, value: Any) -> bool:
        """Whether it is a number of this kind within the bounds."""
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            return False
        if self.whole:
            return isinstance(value, numbers.Integral) and self.low <= value <= self.high
        if value == math.inf:
            return self.infinite
        if not abs(value) <= LARGEST:  # NaN as well
            return False
        number, low, high = (0.0 if abs(n) < TINY else float(np.float32(n)) for n in (value, self.low, self.high))
        return (number > low if self.above else number >= low) and (number < high if self.below else number <= high)


@dataclasses.dataclass(frozen=True)
class OneOf(Range):
    """One of a few names."""

    names: tuple[str, ...]

    @property
    def words(self) -> str:
        """The known names."""
        return f"known are {', '.join(self.names)}"

    def allows(self, value: Any) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and value in self.names

    def refusal(self, value: Any) -> str:
        """The nearest of the names where one is near, and all of them."""
        return f"{nearest(value, self.names)}; {self.words}"


@dataclasses.dataclass(frozen=True)
class Text(Range):
    """Any text, or a path: a file, or a name that is looked up where it is used."""

    words: str = "it must be a text"

    def allows(self, value: Any) -> bool:
        """Whether it is a text or a path."""
        return isinstance(value, str | os.PathLike)


@dataclasses.dataclass(frozen=True)
class RandomKey(Range):
    """One random key, new or of the kind that JAX calls legacy."""

    words: str = "it must be one random key, such as jax.random.key(0)"

    def allows(self, value: Any) -> bool:
        """Whether it is one key, not an array of several."""
        import jax  # here, because not all that states ranges computes

        if not isinstance(value, jax.Array | np.ndarray):
            return False
        if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            return value.ndim == 0
        return value.dtype == np.uint32 and value.ndim == 1  # the numbers of a legacy one


@dataclasses.dataclass(frozen=True)
class Flag(Range):
    """True or False, and no number in their place."""

    words: str = "it must be True or False"

    def allows(self, value: Any) -> bool:
        """Whether it is a truth value."""
        return isinstance(value, bool | np.bool_)


@dataclasses.dataclass(frozen=True)
class Several(Range):
    """A sequence of at least so many values of one range."""

    each: Range
    least: int = 0
    distinct: bool = False

    @property
    def words(self) -> str:
        """What each must be, and how many there must be."""
        count = f" of at least {self.least}" if self.least else ""
        return (
            f"it must be a sequence{count}{', each given once' * self.distinct}, and for each value {self.each.words}"
        )

    def allows(self, value: Any) -> bool:
        """Whether it is such a sequence."""
        if not _is_sequence(value):
            return False
        values = list(value)
        distinct = not self.distinct or len(set(map(repr, values))) == len(values)
        return len(values) >= self.least and distinct and all(map(self.each.allows, values))

    def refusal(self, value: Any) -> str:
        """The first of its values that is not allowed, and why; of another reason what the sequence must be."""
        wrong = [each for each in value if not self.each.allows(each)] if _is_sequence(value) else []
        return f", one of them {shown(wrong[0])}{self.each.refusal(wrong[0])}" if wrong else f"; {self.words}"


@dataclasses.dataclass(frozen=True)
class Size(Range):
    """The size of an image, `Sides`, each side a whole number of one range."""

    side: Number

    @property
    def words(self) -> str:
        """What a side must be, and how a size that is not square is given."""
        return f"{self.side.words}, or two of them, (height, width)"

    def allows(self, value: Any) -> bool:
        """Whether it is one side of a square, or a height and a width."""
        if isinstance(value, list | tuple):
            return len(value) == 2 and all(map(self.side.allows, value))
        return self.side.allows(value)


def sides(size: Sides) -> tuple[int, int]:
    """The height and the width of an image of that size."""
    return (size, size) if isinstance(size, numbers.Integral) else (size[0], size[1])


@dataclasses.dataclass(frozen=True)
class Maybe(Range):
    """A range, or None where nothing is given."""

    given: Range

    @property
    def words(self) -> str:
        """The range's, and None."""
        return f"{self.given.words}; or None"

    def allows(self, value: Any) -> bool:
        """Whether it is None or within the range."""
        return value is None or self.given.allows(value)

    def refusal(self, value: Any) -> str:
        """The range's, and None."""
        return f"{self.given.refusal(value)}; or None"


def whole(low: float, high: float = MOST, *, note: str = "") -> Number:
    """An integer from `low` to `high`."""
    return Number(low, high, whole=True, note=note)


def positive(*, note: str = "") -> Number:
    """A number above 0."""
    return Number(0.0, above=True, note=note)


def not_negative(*, infinite: bool = False, note: str = "") -> Number:
    """A number of at least 0."""
    return Number(0.0, infinite=infinite, note=note)


def share(*, above: bool = False, below: bool = False, note: str = "") -> Number:
    """A number from 0 to 1, without 0 where `above`, without 1 where `below`."""
    return Number(0.0, 1.0, above=above, below=below, note=note)


SEED = whole(0, 2**32 - 1)
"""JAX makes the key of 2^32 + 5 from 5, and NumPy takes no negative one."""


def shown(value: Any) -> str:
    """The value as an error message shows it, on one line and cut where it is long."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 60 else f"{text[:45]}... ({len(text)} characters)"


def nearest(received: Any, names: Iterable[str]) -> str:
    """The question of an error message, " (did you mean 'NAME'?)"; '' where none of the names is near."""
    known = {name.lower(): name for name in names}
    near = difflib.get_close_matches(received.lower(), known, n=1) if isinstance(received, str) else []
    return f" (did you mean {known[near[0]]!r}?)" if near else ""


def _is_sequence(value: Any) -> bool:
    """Whether it is a sequence of values, and no text."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


class Option(NamedTuple):
    """An option of a constructor: its type, what it may be, and what it is where nothing is given."""

    kind: type
    range: Range
    default: Any


def declared(*functions: Callable) -> dict[str, Option]:
    """The options that constructors declare in their signatures, of all of them together.

    An option is a parameter ``name: Annotated[type, range] = default``; a parameter with a default whose type is a
    dataclass declares the options of that dataclass. What a `functools.partial` has set is no option of it.

    Raises:
      TypeError: two of the constructors declare one option differently.
    """
    found: dict[str, Option] = {}
    for function in functions:
        for name, kind, default in _parameters(function):
            own = declared(kind) if dataclasses.is_dataclass(kind) else {name: Option(*typing.get_args(kind), default)}
            for option in own:
                if found.setdefault(option, own[option]) != own[option]:
                    raise TypeError(f"the option {option!r} is declared as {found[option]} and as {own[option]}")
    return found


def arguments(function: Callable, settings: Any) -> dict[str, Any]:
    """The keyword arguments that give a constructor its declared options, read as attributes of `settings`."""
    return {
        name: kind(**arguments(kind, settings)) if dataclasses.is_dataclass(kind) else getattr(settings, name)
        for name, kind, _ in _parameters(function)
    }


def with_options(*functions: Callable) -> Callable[[type], type]:
    """The decorator, applied ahead of `dataclasses.dataclass`, that gives a class a field for each declared option."""

    def extended(fields: type) -> type:
        for name, option in declared(*functions).items():
            fields.__annotations__[name] = typing.Annotated[option.kind, option.range]
            setattr(fields, name, option.default)
        return fields

    return extended


def _parameters(function: Callable) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each parameter that is an option, or a dataclass of options."""
    preset = function.keywords if isinstance(function, functools.partial) else {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind = parameter.annotation
        optional = parameter.default is not parameter.empty  # what must be given is no option, whatever fields it has
        part = optional and dataclasses.is_dataclass(kind) and declared(kind)
        if (typing.get_origin(kind) is typing.Annotated or part) and name not in preset:
            yield name, kind, parameter.default


def of_options(
    function: Callable, numbers: Mapping[str, Number], others: Mapping[Any, Range] | None = None
) -> dict[str, Range]:
    """What each option of a constructor may be, by the types of its signature and the ranges of its `numbers` by name.

    Args:
      function: the constructor.
      numbers: the range of each number by its option's name; an option of type int is a whole number in it.
      others: the range of each further type.
    """

    def of(name: str, kind: Any) -> Range | None:
        inner = typing.get_args(kind)
        if kind in (Sides, Sides | None):
            size = Size(dataclasses.replace(numbers[name], whole=True))
            return size if kind == Sides else Maybe(size)
        if others and kind in others:
            return others[kind]
        if isinstance(kind, types.UnionType) and inner[1:] == (type(None),):
            given = of(name, inner[0])
            return given and Maybe(given)
        if typing.get_origin(kind) in (Sequence, tuple):
            each = of(name, inner[0])
            return each and Several(each)
        if kind is int and name in numbers:
            number = numbers[name]
            return dataclasses.replace(number, whole=True, low=number.low + number.above, above=False)
        if kind is float:
            return numbers.get(name)
        return {bool: Flag(), str: Text()}.get(kind)

    parameters = inspect.signature(function).parameters
    found = {name: of(name, parameter.annotation) for name, parameter in parameters.items()}
    return {name: known for name, known in found.items() if known}


def check(section: str, values: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Refuse the first of `values` that its range does not allow; those without a range are left alone.

    Args:
      section: what stands ahead of a name in the message, for example "sampling.".
      values: the settings by name.
      ranges: what each may be.

    Raises:
      ValueError: a value outside its range, named with what was received and what is allowed.
    """
    for name in values:
        if name in ranges and not ranges[name].allows(values[name]):
            raise ValueError(f"{section}{name} is {shown(values[name])}{ranges[name].refusal(values[name])}")


def check_declared(section: str, given: Any) -> None:
    """Refuse, as `check` does, the first option of a dataclass that is outside the range with which it is declared."""
    check(section, vars(given), {name: option.range for name, option in declared(type(given)).items()})


def check_named(field: str, name: str, given: Any, constructor: Callable) -> None:
    """Refuse what a field gives the constructor of that name for its options, unless it declares and allows them.

    Args:
      field: the field of the config that has options by name, for example "eval.measure_options".
      name: whose options these are.
      given: the options, by their names.
      constructor: what declares them (`declared`).

    Raises:
      ValueError: something else than options, an option that is not declared, or a value outside its range.
    """
    known = {option: each.range for option, each in declared(constructor).items()}
    unknown = [each for each in given if each not in known] if isinstance(given, Mapping) else [given]
    if unknown:
        wrong = f"{unknown[0]!r} of {name!r}{nearest(unknown[0], known)}"
        raise ValueError(f"{field} has {wrong}; known are {', '.join(known) or 'none'}")
    check(f"{field} of {name}: ", given, known)


def check_known(what: str, received: Any, known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
      ValueError: `what` has an unknown name; the message says the nearest known one, then all.
    """
    names = sorted(known)
    if received not in names:
        raise ValueError(f"unknown {what} {received!r}{nearest(received, names)}; known: {', '.join(names) or 'none'}")
