"""The English that Python brings along: the topics of `help()`, which need no download."""

import re
from collections.abc import Mapping

import numpy as np

from data import chunks
from data.alphabets import alphabet_of
from data.source import Source

BETWEEN = "\n\n"
"""What stands between two paragraphs, and so between two topics."""
SAME = 40
"""The characters, white space made single, from which on a paragraph that two topics have makes them one."""
TEST_SHARE = 0.1
"""The share of the text that is for testing."""


def pydoc_topics(*, alphabet: str = "characters", length: int = 128, stride: int = 0) -> Source:
    """About 375 thousand characters on Python's syntax and types, in chunks of `length` symbols; Python's licence.

    Many topics repeat parts of others. Those that share a paragraph make one family, in which a paragraph stands once,
    and families, not topics, are shared out: no paragraph of `SAME` characters is in both training and test.
    Other versions of Python have other topics, which their fingerprints tell apart.

    Args: as `data.text.text`.

    Raises:
      ValueError: the length is larger than a text; or as `alphabet_of`.
    """
    from pydoc_data.topics import topics

    train, test = split(topics)
    whole = train + test
    return chunks.of_texts(
        "pydoc_topics", train, test, alphabet=alphabet_of(alphabet, whole), length=length, stride=stride
    )


def split(topics: Mapping[str, str]) -> tuple[str, str]:
    """The training and the test text of topics by name.

    Families come in a fixed order. One is for testing where it fits into what `TEST_SHARE` leaves.
    """
    found = families(topics)
    order = np.random.default_rng(0).permutation(len(found))
    left = TEST_SHARE * sum(map(len, found))
    train: list[str] = []
    test: list[str] = []
    for text in (found[i] for i in order):
        fits = len(text) <= left
        left -= fits * len(text)
        (test if fits else train).append(text)
    return BETWEEN.join(train), BETWEEN.join(test)


def families(topics: Mapping[str, str]) -> list[str]:
    """The texts of all topics, those that share a paragraph as one in which it stands once; in the order of names."""
    paragraphs = {name: [p for p in re.split(r"\n\s*\n", topics[name].strip("\n")) if p] for name in sorted(topics)}
    family = {name: name for name in paragraphs}  # towards the first name of a family, which leads to itself
    owner: dict[str, str] = {}

    def first(name: str) -> str:
        while family[name] != name:
            name = family[name]
        return name

    for name, own in paragraphs.items():
        for words in map(_words, own):
            if len(words) >= SAME:
                a, b = first(owner.setdefault(words, name)), first(name)
                family[max(a, b)] = min(a, b)
    texts: dict[str, dict[str, str]] = {}
    for name, own in paragraphs.items():
        kept = texts.setdefault(first(name), {})
        for place, paragraph in enumerate(own):
            words = _words(paragraph)
            kept.setdefault(words if len(words) >= SAME else f"{name} {place}", paragraph)
    return [BETWEEN.join(kept.values()) for kept in texts.values()]


def _words(paragraph: str) -> str:
    return " ".join(paragraph.split())
