"""What a rule is: a condition, and the message that refuses what breaks it."""

from collections.abc import Iterator

Broken = Iterator[str]
"""The messages of the rules that are broken, in order."""


def check(broken: Broken) -> None:
    """Refuse what breaks a rule, with a ValueError of the first message."""
    for message in broken:
        raise ValueError(message)
