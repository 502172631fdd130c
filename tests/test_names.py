"""Every name that code reads is one that its module has.

The linters' own rule is off, since the shapes in jaxtyping's annotations are strings that they take for names. The
compiler's tables of symbols hold code alone.
"""

import builtins
import symtable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OF_MODULES = {*dir(builtins), "__file__", "__name__", "__path__"}


def undefined(file: str, source: str) -> list[str]:
    """The global names that a module's code reads and that neither it nor Python defines."""
    module = symtable.symtable(source, file, "exec")
    known = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    found, tables = set(), [module]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        known |= {s.get_name() for s in table.get_symbols() if s.is_declared_global() and s.is_assigned()}
        read = (s for s in table.get_symbols() if s.is_referenced() and (s.is_global() or table is module))
        found |= {s.get_name() for s in read}
    return sorted(f"{file} reads {name}" for name in found - known - OF_MODULES)


def test_every_name_is_defined() -> None:
    files = [file for file in ROOT.rglob("*.py") if not file.relative_to(ROOT).parts[0].startswith(".")]
    assert len(files) > 400
    assert [name for file in files for name in undefined(str(file.relative_to(ROOT)), file.read_text())] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(): return jnp.zeros(3)", ["jnp"]),
        ("import jax.numpy as jnp\ndef f(): return jnp.zeros(3)", []),
        ("x = y", ["y"]),
        ("class A:\n    b = 1\n    c = b\n    def f(self): return b", ["b"]),
        ("def f(x: Float[Array, 'b *d']) -> 'nothing': return len(x)", ["Array", "Float"]),
        ("def f():\n    global state\n    state = 1\ndef g(): return state", []),
        ("def f(x):\n    def g(): return x\n    return g", []),
    ],
)
def test_the_search_sees_planted_names(source: str, found: list[str]) -> None:
    assert undefined("a.py", source) == [f"a.py reads {name}" for name in found]
