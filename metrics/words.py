"""How many of the words of a text are words."""

import re
from collections.abc import Collection, Iterable

LEAST = 3
"""Letters of a word; of shorter runs of letters noise is full too, and most are words."""
_WORD = re.compile(rf"[^\W\d_]{{{LEAST},}}")


def words_of(text: str) -> list[str]:
    """The runs of LEAST letters or more of a text in lower case, without those at its two ends, which may be cut."""
    found = _WORD.finditer(text)
    return [word[0].lower() for word in found if word.start() > 0 and word.end() < len(text)]


def share_of_real_words(texts: Iterable[str], known: Collection[str]) -> float:
    """The share of the words of all texts together that are among the `known` ones; NaN where there are no words.

    `known` are words in lower case, for example those of the training text, ``set(words_of(text))``. Of a held-out text
    this share is below 1 too, and is what that of samples is to be compared with.
    """
    real = set(known)
    found = [word in real for text in texts for word in words_of(text)]
    return sum(found) / len(found) if found else float("nan")
