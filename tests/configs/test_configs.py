"""Every experiment: plain data, locked, and the network it means."""

import ast
import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from PIL import Image

import data
import samplers
import sde_lib
from data import SOURCES
from experiment.build import build, network
from experiment.experiment import num_scales
from experiment.ranges import of_section
from training import losses, optimizer

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs").rglob("*.py"))
OTHERS = {"meanflow": "flow", "consistency": "edm", "shapes": "vp"}
PROCESSES = {**dict(zip(sde_lib.SDES, sde_lib.SDES, strict=True)), **OTHERS}
"""The process of each folder of experiments, most of which are named after it."""
EXPERIMENTS = [str(p.relative_to(ROOT)) for p in FILES if p.relative_to(ROOT).parts[1] in PROCESSES]


def _load(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


def test_the_experiments_that_were_asked_for_are_there() -> None:
    assert {f"configs/{sde}/digits.py" for sde in ("vp", "subvp", "ve")} <= set(EXPERIMENTS)
    assert any("toy" in path for path in EXPERIMENTS) and any("photo_patches" in path for path in EXPERIMENTS)


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_it_is_locked_data_that_builds_its_parts(path: str) -> None:
    config = _load(path)
    assert config.is_locked and config.training.is_locked
    with pytest.raises((AttributeError, KeyError)):
        config.training.batchsize = 3
    assert config.sde.name == PROCESSES[Path(path).parts[1]]
    sde = sde_lib.create(**config.sde)
    settings = samplers.Settings(**config.sampling)
    for method in (settings.method, *config.eval.samplers):
        samplers.create(sde, lambda x, t: x, dataclasses.replace(settings, method=method))
    for field in ("n_iters", "log_freq", "eval_freq", "snapshot_freq", "snapshot_freq_for_preemption"):
        assert config.training[field] % config.training.n_jitted_steps == 0, field
    optimizer.create(**config.optim, batch_size=config.training.batch_size)
    constructor = SOURCES[config.data.dataset.partition(":")[0]]
    options = set(config.data) - set(of_section("data"))
    assert options <= set(inspect.signature(constructor).parameters), "options its data set does not have"
    scales = num_scales(config)
    assert bool(scales) != config.training.continuous
    losses.of_config(config.training, sde_lib.NoiseLevels(sde, scales) if scales else sde)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS)
def test_it_builds_its_network(path: str) -> None:
    """test_published.py says of the published ones, in the quick tests too, how many parameters they have."""
    config = _load(path)
    image = "image_size" in config.data
    options = {name: value for name, value in config.data.items() if name not in of_section("data")}
    size = (config.data.image_size, config.data.image_size, config.data.num_channels) if image else ()
    shape = size or data.create(config.data.dataset, **options).shape
    assert network(config, sde_lib.create(**config.sde), shape).count() > 0


def test_the_folder_config_reads_a_folder(tmp_path) -> None:
    for i in range(20):
        Image.new("RGB", (40 + i, 50)).save(tmp_path / f"{i}.png")
    config = _load("configs/vp/folder_ddpmpp.py")
    config.data.path = str(tmp_path)
    source = build(config).source
    assert source.shape == (32, 32, 3) and len(source.train) + len(source.test) == 20 > len(source.train)


def test_two_loads_share_nothing() -> None:
    first = _load("configs/vp/digits.py")
    first.optim.lr = 77.0
    assert _load("configs/vp/digits.py").optim.lr != 77.0 and _load("configs/ve/digits.py").optim.lr != 77.0


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_the_docstring_holds_its_command(path: str) -> None:
    assert f"--config={path}" in (ROOT / path).read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_configs_import_nothing_but_configs_and_what_reads_published_folders(file: Path) -> None:
    imported = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.append(node.module)
    assert {name.split(".")[0] for name in imported} <= {"ml_collections", "configs", "checkpoints"}
