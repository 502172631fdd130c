"""A scene of one or two digits on a ground: its attributes, and the small grammar of words that says them.

A caption is "a small red three in the top left corner on grey" or "a small red three above a large blue seven on grey".
Everything that a caption says is true of the picture, and it says everything but the handwriting and where exactly
within its place a digit stands.
"""

import re
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

import limits

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES = ("small", "large")
COLOURS = {
    "red": (225, 35, 35),
    "green": (30, 165, 55),
    "blue": (45, 75, 235),
    "yellow": (245, 215, 30),
    "pink": (240, 70, 215),
    "cyan": (45, 215, 230),
}
GROUNDS = {"black": (15, 15, 15), "grey": (125, 125, 125), "white": (240, 240, 240), "brown": (110, 70, 30)}
"""Colours and grounds as RGB; any two of them, taken from both, are at least 100 levels apart."""

PLACES = {
    "in the centre": (0.5, 0.5),
    "in the top left corner": (0.0, 0.0),
    "in the top right corner": (0.0, 1.0),
    "in the bottom left corner": (1.0, 0.0),
    "in the bottom right corner": (1.0, 1.0),
}
"""Where one digit stands: downwards and to the right, 0 for the first half of the picture, 0.5 for its middle."""

RELATIONS = {"left of": ((0.5, 0.0), (0.5, 1.0)), "above": ((0.0, 0.5), (1.0, 0.5))}
"""Where the first and the second of two digits stand."""

SAID_BACKWARDS = {"left of": "right of", "above": "below"}
"""The words for a relation where the second digit is named first."""


class Thing(NamedTuple):
    """One digit: its size and colour by name, and which it is, 0 to 9."""

    size: str
    colour: str
    digit: int


class Scene(NamedTuple):
    """One thing at a place of PLACES, or two in a relation of RELATIONS, so that the left or upper one is the first."""

    things: tuple[Thing, ...]
    place: str
    ground: str


def held_out(scene: Scene) -> bool:
    """Whether the scene combines what no training picture does, by the rules of `combined_anew`."""
    colours = [tuple(COLOURS).index(thing.colour) for thing in scene.things]
    digits = [thing.digit for thing in scene.things]
    return bool(combined_anew(np.array(digits), np.array(colours)))


def combined_anew(
    digits: Int[np.ndarray, "*scenes things"],
    colours: Int[np.ndarray, "*scenes things"],
) -> Bool[np.ndarray, "*scenes"]:
    """Whether each scene, given by its digits and the places of their colours in the table, is held out from training.

    Two rules hold combinations out, and leave every single attribute, place and relation in training:

    - the digit d never has the colour number d modulo 6 (no red zero, no green one, ..., no yellow nine);
    - two digits that add up to nine never stand in one picture.
    """
    of_digit = (colours == digits % len(COLOURS)).any(axis=-1)
    return of_digit | ((digits.shape[-1] == 2) & (digits.sum(axis=-1) == 9))


def describe(scene: Scene, *, backwards: bool = False) -> str:
    """The caption of a scene; with `backwards` the second of two things is named first, which is as true."""
    words = [f"a {thing.size} {thing.colour} {DIGITS[thing.digit]}" for thing in scene.things]
    if len(words) == 1:
        return f"{words[0]} {scene.place} on {scene.ground}"
    if backwards:
        return f"{words[1]} {SAID_BACKWARDS[scene.place]} {words[0]} on {scene.ground}"
    return f"{words[0]} {scene.place} {words[1]} on {scene.ground}"


def parse(caption: str) -> Scene:
    """The scene that a caption says, whichever of two things it names first.

    Raises:
      ValueError: the caption has a word that is not in VOCABULARY, or is no sentence of the grammar.
    """
    words = caption.split()
    for word in words:
        limits.check_known("word of a scene", word, VOCABULARY)
    found = _SENTENCE.fullmatch(" ".join(words))
    if found is None:
        raise ValueError(
            f"the caption {limits.shown(caption)} is no scene; one reads 'a small red three in the centre on grey', "
            "another 'a small red three above a large blue seven on grey'"
        )
    part = found.groupdict()
    things = [_thing(part["size"], part["colour"], part["digit"])]
    if part["place"]:
        return Scene(tuple(things), part["place"], part["ground"])
    things.append(_thing(part["size2"], part["colour2"], part["digit2"]))
    forwards = {backwards: relation for relation, backwards in SAID_BACKWARDS.items()}
    if part["relation"] in forwards:
        return Scene(tuple(reversed(things)), forwards[part["relation"]], part["ground"])
    return Scene(tuple(things), part["relation"], part["ground"])


def _thing(size: str, colour: str, digit: str) -> Thing:
    return Thing(size, colour, DIGITS.index(digit))


def _one_of(name: str, words: Iterable[str]) -> str:
    return f"(?P<{name}>{'|'.join(words)})"


def _sentence() -> re.Pattern:
    """The grammar, as one regular expression."""
    first, second = (
        f"a {_one_of(f'size{n}', SIZES)} {_one_of(f'colour{n}', COLOURS)} {_one_of(f'digit{n}', DIGITS)}"
        for n in ("", "2")
    )
    place, relation = _one_of("place", PLACES), _one_of("relation", [*RELATIONS, *SAID_BACKWARDS.values()])
    return re.compile(f"{first} (?:{place}|{relation} {second}) on {_one_of('ground', GROUNDS)}")


_SENTENCE = _sentence()
_PHRASES = (["a"], SIZES, COLOURS, DIGITS, PLACES, RELATIONS, SAID_BACKWARDS.values(), ["on"], GROUNDS)

VOCABULARY = tuple(dict.fromkeys(word for phrase in chain(*_PHRASES) for word in phrase.split()))
"""Every word of the captions, each once."""

LONGEST = 12
"""The number of words of the longest caption: "a small red three left of a large blue seven on grey"."""

LETTERS = 60
"""No caption has more letters, spaces included."""
