"""What programs free stays with the process, for the next program: a training step on CPU is faster by what that saves.

XLA on CPU asks for the temporary memory of a program each time that it runs, and frees it behind it. glibc takes so
large a block fresh from the system and gives it back, and the system clears every page of it again (docs/benchmarks.md
has how much that is). The module imports the standard library alone, so that it can be at work before JAX starts its
threads, whose memory is not changed later.
"""

import contextlib
import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
"""The names of glibc's mallopt, in malloc.h."""
OWN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Environment variables by which a user has chosen how memory is kept; what begins so is left alone."""


def keep() -> bool:
    """Keep what is freed, from now on, in one heap; whether that was done.

    A command calls it before it imports JAX. Nothing is done where the user has chosen otherwise, and where the C
    library is not glibc. Memory that was needed once is not given back before the process ends.
    """
    if any(name.startswith(OWN) for name in os.environ):
        return False
    with contextlib.suppress(AttributeError, OSError, TypeError):
        choose = ctypes.CDLL(None).mallopt
        return all(choose(what, value) for what, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (ARENA_MAX, 1)))
    return False
