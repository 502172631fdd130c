"""The notebooks run from top to bottom, say the same in both of their forms, and fail where a cell fails."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from configs.autoencoders import photos as autoencoders_photos
from configs.categorical import digits_d3pm, digits_masked, pydoc_masked
from configs.latent import photos as latent_photos
from configs.text import scenes as text_scenes
from configs.text import scenes_clip as text_scenes_clip
from configs.vp import digits, digits_classes, digits_classifier, photo_patches_16, photos_64
from experiment.build import build
from experiment.workdir import Workdir
from models import options_of

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
MOST_BYTES = 700 * 1024


OF_DIGITS = {"RUN_DIGITS": digits, "RUN_MASKED": digits_masked, "RUN_D3PM": digits_d3pm}
STEERED = {"RUN_CLASSES": digits_classes, "RUN_CLASSIFIER": digits_classifier, "RUN_PHOTOS": photo_patches_16}


def stored(name: str) -> Any:
    """The notebook as it is stored, with its outputs."""
    import nbformat  # takes seconds, so that it is not imported where tests are collected

    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def script(name: str) -> Any:
    """The notebook of a script."""
    import jupytext  # takes seconds too

    return jupytext.read(NOTEBOOKS / f"{name}.py")


def execute(notebook: Any, **runs: Path) -> str:
    """Run all cells as from the notebooks' own folder, with trained `runs` by their variables; what they printed."""
    from nbclient import NotebookClient

    # One device, as at home; most of the time is compiling, so its last stage is kept short.
    flags = {"XLA_FLAGS": "--xla_backend_optimization_level=0", "JAX_PLATFORMS": "cpu"}
    folders = {variable: str(path) for variable, path in runs.items()}
    environment = {**os.environ, **flags, **folders, "PYTHONPATH": str(NOTEBOOKS.parent)}
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    client.execute(env=environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def tiny_run(path: Path, config: ConfigDict, **options: Any) -> None:
    """A run as training leaves it: a config and a checkpoint, here of a tiny network and untrained weights."""
    with config.unlocked():
        if "nf" in options_of(config.model.name):
            config.model.update({"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()} | options)
        if "head_channels" in config.model:
            config.model.head_channels = 8
        config.sampling.update(steps=2, flow_steps=2, evaluations=8, rtol=0.1, atol=0.1)
    variables = build(config).network.init(jax.random.key(0))
    workdir = Workdir(path)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(7, {"ema": variables["params"], "fixed": variables["fixed"]})


def test_there_are_notebooks() -> None:
    explored = [f"explore_{name}" for name in ("categories", "latents", "maps", "samplers", "text")]
    assert [*explored, "first_steps", "steer_digits"] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_are_the_same_notebook(name: str) -> None:
    assert [(c.cell_type, c.source) for c in stored(name).cells] == [
        (c.cell_type, c.source) for c in script(name).cells
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_outputs_are_whole_small_and_free_of_errors(name: str) -> None:
    import nbformat

    notebook = stored(name)
    nbformat.validate(notebook)
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < MOST_BYTES
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert str(Path.home()) not in json.dumps(notebook)


@pytest.mark.slow
def test_the_notebook_runs_and_reads_a_trained_run(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", digits.get_config())
    printed = execute(script("explore_samplers"), RUN=tmp_path / "run")
    assert "digits, SDE vp, step 7" in printed


@pytest.mark.slow
def test_the_notebook_on_maps_runs() -> None:
    """It needs no run, and trains for few steps here."""
    assert "from the exact ends" in execute(script("explore_maps"), STEPS=Path("30"))


def bounds(printed: str) -> dict[str, tuple[float, float]]:
    """How far the bounds of the exact model are from exact, and the standard error of that, by the process."""
    lines = [line.split() for line in printed.splitlines() if line.endswith("from exact")]
    return {words[0].strip(":"): (float(words[-5]), float(words[-3])) for words in lines}


@pytest.mark.slow
def test_the_notebook_on_categories_runs_on_runs_of_its_configs(tmp_path: Path) -> None:
    for variable, config in OF_DIGITS.items():
        tiny_run(tmp_path / variable, config.get_config())
    text = pydoc_masked.get_config()
    text.model.update(width=8, depth=1, num_heads=2)
    text.data.length = 24
    tiny_run(tmp_path / "RUN_TEXT", text)
    part = {"mean": 1.25, "standard_error": 0.5}
    (tmp_path / "RUN_MASKED" / "report.json").write_text(json.dumps({"variational_bound": part}))
    runs = {variable: tmp_path / variable for variable in (*OF_DIGITS, "RUN_TEXT")}
    printed = execute(script("explore_categories"), **runs)
    found = bounds(printed)
    assert found.keys() == {"masked", "uniform"}
    for above, error in found.values():
        assert abs(above) < 4 * error + 1e-4 and error < 0.02
    assert "known letters kept: True" in printed
    assert printed.count("filled in") == 6
    rows = {line.split()[0]: line for line in printed.splitlines() if line.startswith(("Gaussian", "masked ", "D3PM"))}
    assert rows["masked"].endswith("1.250 +- 0.500")
    assert "--mode=evaluate" in rows["Gaussian"] and "--mode=evaluate" in rows["D3PM"]


@pytest.mark.slow
def test_without_runs_the_notebook_on_categories_says_how_to_train(tmp_path: Path) -> None:
    runs = {variable: tmp_path / variable for variable in (*OF_DIGITS, "RUN_TEXT")}
    notebook = sections(script("explore_categories"), first=1, last=2)
    printed = execute(notebook, **runs)
    assert printed.count("`make demo` trains it") == 1 and printed.count("trains it") == 4
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("Gaussian"))
    assert row[2] == "1200" and row[3:] == ["its", "card", "has", "them"]  # the run that is shipped
    for config in (digits_masked, digits_d3pm, pydoc_masked):
        assert f"--mode=train --config={Path(config.__file__).relative_to(NOTEBOOKS.parent)} " in printed


@pytest.mark.slow
def test_the_notebook_on_latents_runs_on_runs_of_its_configs(tmp_path: Path) -> None:
    runs = {variable: tmp_path / variable for variable in ("RUN_AUTOENCODER", "RUN_LATENT", "RUN_PIXELS")}
    tiny_run(runs["RUN_AUTOENCODER"], autoencoders_photos.get_config(), ch_mult=(1, 1, 1), num_groups=4)
    of_latents = latent_photos.get_config(str(runs["RUN_AUTOENCODER"]))
    of_latents.data.update(latent_scale=1.0, latent_shift=0.0, latent_cache="")
    tiny_run(runs["RUN_LATENT"], of_latents)
    tiny_run(runs["RUN_PIXELS"], photos_64.get_config())
    printed = execute(script("explore_latents"), **runs, SAMPLES=Path("8"))
    assert "12,288 numbers to 1,024: PSNR" in printed
    assert [line.split()[0] for line in printed.splitlines()[-3:]] == ["latents", "pixels", "floor"]


@pytest.mark.slow
def test_without_runs_the_notebook_on_latents_says_how_to_train(tmp_path: Path) -> None:
    runs = {variable: tmp_path / variable for variable in ("RUN_AUTOENCODER", "RUN_LATENT", "RUN_PIXELS")}
    printed = execute(script("explore_latents"), **runs)
    assert printed.count("`make latent` trains it") == 2 and "`python -m benchmarks.latent` trains it" in printed


@pytest.mark.slow
def test_the_notebook_on_words_runs_on_runs_of_its_configs(tmp_path: Path) -> None:
    runs = {"RUN_SCENES": tmp_path / "scenes", "RUN_SCENES_CLIP": tmp_path / "clip"}
    tiny_run(runs["RUN_SCENES"], text_scenes.get_config(), attn_resolutions=(16,), num_groups=4)
    tiny_run(runs["RUN_SCENES_CLIP"], text_scenes_clip.get_config())
    printed = execute(script("explore_text"), **runs, SAMPLES=Path("8"))
    lines = printed.splitlines()
    assert sum(line.split()[:2] == ["CLIP", scale] for line in lines for scale in ("1", "2", "4")) == 3
    assert "times the picture's mean" in printed
    assert "levels changed outside: 0" in lines[-1]


@pytest.mark.slow
def test_without_runs_the_notebook_on_words_says_how_to_train(tmp_path: Path) -> None:
    printed = execute(script("explore_text"), RUN_SCENES=tmp_path / "scenes", RUN_SCENES_CLIP=tmp_path / "clip")
    assert printed.count("`make text` trains it") == 1 and "configs/text/scenes_clip.py" in printed


@pytest.mark.slow
def test_the_notebook_on_steering_runs_on_runs_of_its_configs(tmp_path: Path) -> None:
    for variable, config in STEERED.items():
        tiny_run(tmp_path / variable, config.get_config())
    runs = {variable: tmp_path / variable for variable in STEERED}
    printed = execute(script("steer_digits"), **runs)
    assert printed.count("step 7") == 3
    assert "7 scales, 1 compilation" in printed
    assert "4 masks, 1 compilation" in printed
    halves = [line for line in printed.splitlines() if line.endswith(("True", "False")) and "told" not in line]
    assert len(halves) >= 6
    assert all(line.endswith("True") for line in halves)


def sections(notebook: Any, *, first: int, last: int) -> Any:
    """The imports, so many sections from the beginning and so many from the end: all but what takes time."""
    heads = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## ")]
    notebook.cells = notebook.cells[: heads[first]] + notebook.cells[heads[-last] :]
    return notebook


@pytest.mark.slow
def test_the_first_section_runs_and_a_trained_run_is_read(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", digits.get_config())
    for folder, step in (("run", 7), ("", 1200)):  # without one the run that is shipped
        notebook = sections(script("explore_samplers"), first=1, last=1)
        assert "for name in" in notebook.cells.pop().source  # draws with seven samplers: their compiling is slow
        runs = {"RUN": tmp_path / folder} if folder else {}
        assert f"digits, SDE vp, step {step}" in execute(notebook, **runs)


@pytest.mark.slow
def test_the_first_steps_run_with_what_is_shipped() -> None:
    """A digit costs fewer bits than upside down, and shuffled the most; a known half is kept to the level."""
    printed = execute(script("first_steps"))
    assert printed.startswith("digits, step 1200, ")
    bits = [float(line.split()[-6]) for line in printed.splitlines() if line.endswith("bits a pixel")]
    assert len(bits) == 3 and bits[0] < bits[1] < bits[2]
    assert "known half kept: True" in printed


@pytest.mark.slow
def test_without_runs_the_notebook_on_steering_takes_what_is_shipped_and_says_how_to_train(tmp_path: Path) -> None:
    runs = {variable: tmp_path / variable for variable in STEERED}
    notebook, fewer = script("steer_digits"), {"TEST[:64]": "TEST[:14]", '"evaluations": 50': '"evaluations": 5'}
    for cell in notebook.cells:  # the network is not tiny
        for much, little in fewer.items():
            cell.source = cell.source.replace(much, little)
    printed = execute(notebook, **runs)
    assert "digits: step 1200" in printed and "4 masks, 1 compilation" in printed  # the run that is shipped inpaints
    halves = [line for line in printed.splitlines() if line.endswith(("True", "False")) and "told" not in line]
    assert len(halves) >= 6 and all(line.endswith("True") for line in halves)
    mark = next(line for line in printed.splitlines() if line.startswith("real digits, held out"))
    recognised, _, _, spread = (float(number) for number in mark.split()[-4:])
    assert recognised > 0.98
    assert spread == 1.0
    for variable, config in STEERED.items():
        file = Path(config.__file__).relative_to(NOTEBOOKS.parent)
        assert f"python main.py --mode=train --config={file} --workdir={tmp_path / variable}\n" in printed


def test_a_cell_that_raises_fails_the_execution(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook(cells=[new_code_cell("raise RuntimeError('planted')")])
    with pytest.raises(CellExecutionError, match="planted"):
        execute(notebook)
