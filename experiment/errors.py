"""Bad input is refused in one line, before anything is compiled or written."""

import contextlib
from collections.abc import Iterator


class Refusal(Exception):
    """What the user gave cannot be run; the message says what was received, what is allowed and how to mend it."""


class Failure(RuntimeError):
    """A run that was sound to begin with cannot go on; the message says what happened and what is kept."""


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn the ValueErrors and OSErrors of checks and loaders into a `Refusal`."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise Refusal(" ".join(str(error).split())) from error
