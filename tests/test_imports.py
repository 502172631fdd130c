"""Who may import whom, read from the syntax tree of every file; and no code that asks which SDE it has."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "autoencoders", "checkpoints", "conditions", "configs", "data", "editing", "evaluation", "experiment", "heap",
    "interruption", "inverse", "limits", "main", "metrics", "models", "modes", "samplers", "sde_lib", "sweeps",
    "training", "visualize",
)  # fmt: skip
OF_ALL = {"limits"}  # what a number may be, which every room but the configs says of its own options
MAY_IMPORT = {
    "configs": {"checkpoints"},  # a published folder that describes itself is a config
    "limits": set(),
    "sde_lib": set(),
    "models": set(),
    "heap": set(),
    "interruption": set(),
    "data": set(),
    "autoencoders": set(),
    "conditions": set(),
    "samplers": {"sde_lib"},
    "inverse": {"sde_lib", "samplers"},
    "training": {
        "conditions",
        "autoencoders",
        "sde_lib",
        "models",
        "data",
        "checkpoints",
        "samplers",
        "experiment",
        "interruption",
    },
    "checkpoints": {"models"},
    "experiment": {
        "conditions",
        "autoencoders",
        "sde_lib",
        "models",
        "data",
        "samplers",
        "inverse",
        "checkpoints",
        "configs",
        "metrics",
    },
    "editing": {"autoencoders", "conditions", "sde_lib", "models", "data", "samplers", "inverse", "experiment"},
    "visualize": {"conditions", "sde_lib", "models", "data", "samplers", "experiment"},
    "metrics": {"sde_lib", "samplers"},
    "evaluation": {
        "autoencoders",
        "conditions",
        "sde_lib",
        "samplers",
        "metrics",
        "data",
        "models",
        "checkpoints",
        "experiment",
    },
    "sweeps": {"experiment", "checkpoints", "configs", "data", "interruption"},
    "main": set(ROOMS) - {"main"},
    "modes": set(ROOMS) - {"main"},
}
SDE_CLASSES = {"AffineSDE", "VP", "SubVP", "VE", "EDM", "Discrete", "LearnedVP"}


def violations(file: str, source: str) -> list[str]:
    """What one file, named by its path in the repository, does against the rules."""
    room = Path(file).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[room] | ({room} - {"main"})
    allowed |= set() if room == "configs" else OF_ALL
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.append(f"{file}:{node.lineno} imports relatively")
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        elif isinstance(node, ast.Call) and _name(node.func) in ("isinstance", "issubclass"):
            asked = {_name(n) for n in ast.walk(node.args[1])} & SDE_CLASSES if len(node.args) > 1 else set()
            found += [f"{file}:{node.lineno} asks whether an SDE is {name}" for name in sorted(asked)]
        for name in names:
            other = name.split(".")[0]
            if other in ROOMS and other not in allowed:
                found.append(f"{file}:{node.lineno} imports {name}")
    return found


def circles(sources: dict[str, str]) -> list[list[str]]:
    """The files that import each other in a circle, of files named by their paths; each circle's in order.

    An import within a function or for type checking counts. Of another room's module Python runs the packages around
    it too, and so they count as imported.
    """
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in sources}

    def imported(module: str, source: str) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if name in modules else node.module or "" for name in below}
        outside = [name.split(".") for name in found if name.split(".")[0] != module.split(".")[0]]
        around = {".".join(parts[:n]) for parts in outside for n in range(1, len(parts))}
        return (found | around) & modules.keys() - {module}

    graph = {module: imported(module, sources[name]) for module, name in modules.items()}

    def reached(module: str) -> set[str]:
        seen, left = set(), [module]
        while left:
            new = graph[left.pop()] - seen
            seen |= new
            left += new
        return seen

    reach = {module: reached(module) for module in graph}
    found = {frozenset(other for other in reach[module] if module in reach[other]) for module in graph}
    return sorted(sorted(modules[module] for module in circle) for circle in found if circle)


def _name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _files() -> list[str]:
    paths = [p for room in ROOMS for p in [ROOT / f"{room}.py", *(ROOT / room).rglob("*.py")] if p.exists()]
    return sorted(str(p.relative_to(ROOT)) for p in paths)


def test_every_file_keeps_the_rules() -> None:
    files = _files()
    assert {"sde_lib/base.py", "samplers/base.py"} <= set(files)
    assert [v for file in files for v in violations(file, (ROOT / file).read_text())] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles({file: (ROOT / file).read_text() for file in _files()}) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a/b.py": "import a.c", "a/c.py": "import a.d", "a/d.py": ""}, 0),
        ({"a/b.py": "import a.c", "a/c.py": "from a import d", "a/d.py": "from a.b import x"}, 1),
        ({"a/b.py": "import a.c", "a/c.py": "if TYPE_CHECKING:\n    from a.b import X"}, 1),
        ({"a/b.py": "import a.c", "a/c.py": "def f():\n    import a.b"}, 1),
        ({"a/__init__.py": "from a.b import x", "a/b.py": "from a.c import y", "a/c.py": ""}, 0),
        ({"a/__init__.py": "from a.b import x", "a/b.py": "import e", "e.py": "from a.c import y", "a/c.py": ""}, 1),
        ({"a/__init__.py": "from a.b import x", "a/b.py": "from a import x"}, 1),
    ],
)
def test_the_search_sees_planted_circles(sources: dict[str, str], found: int) -> None:
    assert len(circles(sources)) == found


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("samplers/ode.py", "from sde_lib.base import AffineSDE\nimport jax", 0),
        ("samplers/ode.py", "from training.loop import train", 1),
        ("samplers/ode.py", "from limits import check", 0),
        ("configs/digits.py", "from limits import check", 1),
        ("limits.py", "import sde_lib", 1),
        ("samplers/ode.py", "def f():\n    import models.ncsnpp", 1),
        ("samplers/ode.py", "from . import grids", 1),
        ("samplers/ode.py", "from inverse import create", 1),
        ("inverse/vary.py", "from models import MODELS\nimport samplers", 1),
        ("sde_lib/vp.py", "from samplers import create", 1),
        ("sde_lib/vp.py", "from sde_lib.base import AffineSDE", 0),
        ("configs/vp/cifar10.py", "import ml_collections\nfrom configs.base import get_config", 0),
        ("configs/vp/cifar10.py", "from models import create", 1),
        ("configs/vp/cifar10.py", "import importlib\nimportlib.import_module('data.digits')", 1),
        ("evaluation/run.py", "import checkpoints, data, models, experiment", 0),
        ("metrics/fid.py", "import checkpoints, data", 2),
        ("experiment/build.py", "import configs, checkpoints\nimport training", 1),
        ("training/loop.py", "import main", 1),
        ("main.py", "from training import loop\nfrom evaluation import run", 0),
        ("samplers/ode.py", "if isinstance(sde, VP): pass", 1),
        ("training/loss.py", "if isinstance(sde, (sde_lib.VE, sde_lib.SubVP)): pass", 2),
        ("training/loss.py", "isinstance(x, int | float)", 0),
        ("data/base.py", "import database\nimport modelscope", 0),
    ],
)
def test_the_checker_sees_planted_violations(file: str, source: str, wrong: int) -> None:
    assert len(violations(file, source)) == wrong
