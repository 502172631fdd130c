"""Every block of code in README, CONTRIBUTING and docs runs or says what it needs; every link leads somewhere."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from configs.vp import digits
from experiment import build
from experiment.workdir import Workdir

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"# needs: \S")

# What makes each command of the README a matter of seconds; the rest of it stays as written.
SMALL = {
    "--mode=train": "--config.model.num_res_blocks=1 --config.training.batch_size=8 --config.training.n_iters=2 "
    "--config.training.snapshot_freq=2 --config.training.snapshot_sampling=False --config.training.eval_freq=2 "
    "--config.optim.decay_steps=0",
    "--mode=sample": "--config.eval.batch_size=100",
    "--mode=evaluate": "--config.eval.bpd_max_examples=8 --config.eval.num_samples=20 --config.eval.rtol=1e-1 "
    "--config.eval.atol=1e-1 --config.eval.samplers=('pc','ode')",
    "--mode=visualize": "--config.visualize.count=2 --config.visualize.states=5 --config.visualize.evaluations=4",
    "--mode=edit": "--config.edit.images=1 --config.edit.count=2",
    "--mode=compare": "--config.eval.num_samples=20 --config.eval.batch_size=20 --config.eval.compare_evaluations=(5,) "
    "--config.eval.compare=('ddim/quadratic','heun/karras') --config.eval.compare_reference_evaluations=11",
}


def runnable(language: str, pages: tuple[Path, ...] = PAGES) -> list[str]:
    """The blocks of that language, in order, but for those that say what they need."""
    found = [block for page in pages for block in BLOCK.findall(page.read_text())]
    return [text for kind, text in found if kind == language and not NEEDS.match(text)]


def commands(block: str) -> list[list[str]]:
    """The commands of a block of shell, as words; continued lines are joined and comments left out."""
    lines = (shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines())
    return [words for words in lines if words]


def test_every_language_is_known_and_some_blocks_of_each_kind_run() -> None:
    kinds = {kind for page in PAGES for kind, _ in BLOCK.findall(page.read_text())}
    assert kinds <= {"python", "bash"}
    assert len(runnable("python")) >= 3 and len(runnable("bash")) >= 5


def test_shell_that_runs_is_of_our_own_programs() -> None:
    for block in runnable("bash"):
        for words in commands(block):
            assert words[:2] == ["python", "main.py"], f"say '# needs: ...' in the first line of {block!r}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which runs/digits is a run of the smallest network, untrained."""
    path = tmp_path_factory.mktemp("folder")
    config = digits.get_config()
    with config.unlocked():
        config.model.update(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.eval.update(rtol=0.1, atol=0.1)
    variables, workdir = build(config).network.init(jax.random.key(0)), Workdir(path / "runs" / "digits")
    workdir.begin(config)
    with workdir.store() as store:
        store.save(1, {"ema": variables["params"], "fixed": variables["fixed"]})
    return path


def of_code() -> list[object]:
    """The pages whose blocks of Python run, of which some take longer."""
    slow = ("exercises", "likelihood")
    pages = [page for page in PAGES if runnable("python", (page,))]
    return [pytest.param(page, marks=[pytest.mark.slow] if page.stem in slow else [], id=page.stem) for page in pages]


@pytest.mark.parametrize("page", of_code())
def test_what_python_blocks_say_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after another in one namespace, as a reader would paste them."""
    monkeypatch.chdir(folder)
    namespace: dict[str, object] = {}
    for block in runnable("python", (page,)):
        exec(compile(block, page.name, "exec"), namespace)  # in full


@pytest.mark.slow
def test_what_shell_blocks_say_runs(tmp_path: Path) -> None:
    """One after another in one folder, where the pictures that they name lie; each is cut short."""
    for name in ("main.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "seven.png")
    Image.fromarray(np.repeat(np.uint8([255, 0]), 32).reshape(8, 8)).save(tmp_path / "mask.png")
    (tmp_path / "images").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "PYTHONPATH": str(ROOT),
    }
    done: list[list[str]] = []
    for block in runnable("bash"):
        for words in commands(block):
            if words in done:  # several pages show it
                continue
            done.append(words)
            mode = next(word for word in words if word.startswith("--mode="))
            given = [*words[1:], *SMALL.get(mode, "").split()]
            ended = subprocess.run(
                [sys.executable, *given], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
            )
            assert ended.returncode == 0, f"{' '.join(words)}: {ended.stderr[-2000:]}"


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: str) -> set[str]:
    """The names that the headings of a page have in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """The links of a page to a file that is not there or to a heading that its page does not have."""
    broken = []
    for link in LINK.findall(page.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Speed: of `a_b`, now\n```bash\n# comment\n```\n[a](#speed-of-a_b-now) [b](page.md#comment) [c](gone.md) "
        "[d](#speed) [e](https://example.org/x#y) ![f](gone.png) [g](page.md)\n"
    )
    assert broken_links(page) == ["page.md#comment", "gone.md", "#speed", "gone.png"]


def test_the_index_leads_to_every_page_and_the_front_page_is_one_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in DOCS} - {"README.md"}
    assert pages == set(LINK.findall(index)) - {"../README.md", "../CONTRIBUTING.md"}
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


FILE = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+(?:\.py|\.ipynb|/))`")


def missing_files(page: str) -> list[str]:
    """The source files and folders that a page names and that are not there; recipes are named from `configs` too."""
    of_other_places = {"tensorboard/", "controllable_generation.py"}  # a run's folder, the 2021 code
    named = set(FILE.findall(page)) - of_other_places
    return sorted(name for name in named if not ((ROOT / name).exists() or (ROOT / "configs" / name).exists()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_source_file_that_a_page_names_is_there(page: Path) -> None:
    assert missing_files(page.read_text()) == []


def test_a_file_that_is_gone_is_seen() -> None:
    page = "`main.py` `samplers/gone.py` `vp/digits.py` `vp/` `gone/` `runs/x/report.md` `sde_lib/NAME.py` gone.py"
    assert missing_files(page) == ["gone/", "samplers/gone.py"]


def test_the_page_of_the_rooms_says_who_may_import_whom() -> None:
    rules = runpy.run_path(str(ROOT / "tests" / "test_imports.py"))["MAY_IMPORT"]
    said = {}
    for names, _, imports in re.findall(r"^\| (`.*) \| (.*) \| ?(.*)\|$", (ROOT / "docs/rooms.md").read_text(), re.M):
        for name in re.findall(r"`(\w+)(?:/|\.py)`", names):
            said[name] = set(rules) if imports.strip() == "everything" else set(re.findall(r"`(\w+)`", imports))
    assert said.keys() == rules.keys()
    assert {name: allowed - {name, "main"} for name, allowed in said.items()} == {
        name: set(allowed) - {name, "main"} for name, allowed in rules.items()
    }


def test_the_citation_names_the_version_that_is_installed() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and f"\nversion: {version[1]}\n" in (ROOT / "CITATION.cff").read_text()


MEASURED = re.compile(r"(\d\.\d{3} \+- 0\.\d{3})\*{0,2}\s+bits/dim")


def test_readme_and_configs_state_the_same_bits_per_dim() -> None:
    """Each measured figure of the README is that of a config's docstring, word for word."""
    configs = (" ".join(path.read_text().split()) for path in (ROOT / "configs").rglob("*.py"))
    of_configs = {figure for text in configs for figure in MEASURED.findall(text)}
    of_pages = {figure for page in PAGES for figure in MEASURED.findall(" ".join(page.read_text().split()))}
    assert len(of_pages) >= 3
    assert of_pages <= of_configs
