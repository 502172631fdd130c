"""Memory that is freed stays with the process: the system need not clear its pages again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGE = """
import resource
import heap
kept = heap.keep() if {keep} else None
for _ in range(30):
    b"x" * 2**25  # 32 MiB
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def said(code: str, *arguments: str, **environment: str) -> list[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=own | environment, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep it")
def test_a_block_that_was_freed_is_not_cleared_again() -> None:
    """Thirty blocks of 8192 pages each: all of them are new where they are given back, and one where they are kept."""
    (kept, few), (_, many) = said(LARGE.format(keep=True)), said(LARGE.format(keep=False))
    assert kept == "True"
    assert int(many) - int(few) > 25 * 8192


def test_what_a_user_has_chosen_is_left_alone() -> None:
    assert said("import heap; print(heap.keep())", MALLOC_ARENA_MAX="8") == ["False"]


def test_a_command_keeps_it_before_jax_is_imported() -> None:
    code = (
        "import heap, runpy, sys\n"
        "heap.keep = lambda: print('kept', 'jax' in sys.modules)\n"
        "runpy.run_path('main.py', run_name='__main__')"
    )
    assert said(code, "--helpshort")[:2] == ["kept", "False"]
