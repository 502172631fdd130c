"""Runs over categories: what goes together, and training, samples and the bound of each kind from the command line."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from configs.categorical import digits_d3pm, digits_masked, pydoc_masked
from data.source import take
from evaluation import measures
from experiment import build, fields, load
from experiment.sampling import sampler
from sde_lib.bound import Bound
from tests.experiment.command import call
from training import preparation

CONFIGS = {"digits_masked": digits_masked, "digits_d3pm": digits_d3pm, "pydoc_masked": pydoc_masked}
UNET = ("--config.model.nf=4", "--config.model.ch_mult=(1,)", "--config.model.attn_resolutions=()")
TINY = {
    "digits_masked": (*UNET, "--config.model.num_res_blocks=1", "--config.eval.samplers=('unmasking','maskgit')"),
    "digits_d3pm": (*UNET, "--config.model.num_res_blocks=1", "--config.sde.n=8"),
    "pydoc_masked": (
        "--config.model.width=8",
        "--config.model.depth=1",
        "--config.model.num_heads=2",
        "--config.data.length=16",
    ),
}
SHORT = (
    "--config.training.batch_size=8",
    "--config.training.n_iters=2",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=2",
    "--config.training.snapshot_freq=2",
    "--config.training.snapshot_freq_for_preemption=1",
    "--config.optim.decay_steps=0",
    "--config.sampling.steps=4",
    "--config.sampling.count=4",
    "--config.eval.batch_size=8",
    "--config.eval.num_samples=8",
    "--config.eval.vlb_times=8",
    "--config.eval.vlb_max_examples=4",
    "--config.eval.compare_evaluations=(2,)",
    "--config.eval.compare_reference_evaluations=4",
    "--config.edit.images=2",
    "--config.edit.count=3",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_every_mode(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = f"--config=configs/categorical/{name}.py", f"--workdir={tmp_path}", *TINY[name], *SHORT
    for mode in ("train", "sample", "evaluate", "compare", "edit"):
        code, _, err = call(capsys, f"--mode={mode}", *given)
        assert code == 0, (mode, err)
    for mode in ("reproduce", "export"):
        code, _, err = call(capsys, f"--mode={mode}", *given)
        assert code == 2 and "of networks that say a score" in err and err.count("\n") == 1
    with np.load(next((tmp_path / "samples").glob("*.npz"))) as drawn:
        assert drawn["samples"].shape[0] == 4
    bound = json.loads((tmp_path / "report.json").read_text())["variational_bound"]
    assert bound["mean"] == pytest.approx(bound["diffusion"] + bound["prior"] + bound["reconstruction"], rel=1e-6)
    assert np.isfinite(bound["mean"]) and bound["unit"] == ("bits/character" if name == "pydoc_masked" else "bits/dim")
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert any("loss" in key for key in line)
    _check_compared(tmp_path, CONFIGS[name].get_config().eval.compare, of_text=name == "pydoc_masked")
    _check_edits(tmp_path, given, of_text=name == "pydoc_masked", capsys=capsys)


def _check_compared(folder: Path, methods: tuple[str, ...], *, of_text: bool) -> None:
    """Every sampler has its row, measured as its data are: a Frechet distance is no measure of a text."""
    compared = json.loads((folder / "comparison.json").read_text())
    assert [(row["sampler"], row["evaluations"]) for row in compared["rows"]] == [(method, 2) for method in methods]
    assert compared["reference"]["evaluations"] == 4 and compared["floor"] >= 0.0
    assert all(row["flow_error"] is None and row["quality"] >= 0.0 for row in compared["rows"])
    report = json.loads((folder / "report.json").read_text())
    assert ("frechet_floor" in report) != of_text
    for row in report["samplers"].values():
        assert ("frechet_distance" in row) != of_text and ("further" in row) == of_text
    table = (folder / "comparison.md").read_text()
    assert ("real texts have" in table) == of_text and ("| bits by n-grams |" in table) == of_text
    assert (folder / "comparison.png").exists()


def _check_edits(folder: Path, given: tuple[str, ...], *, of_text: bool, capsys: pytest.CaptureFixture) -> None:
    """What is known is exact, and the rest is drawn; a short time of noise changes less than a long one."""

    def edited(task: str) -> np.ndarray:
        with np.load(folder / "edits" / f"{task}_step_2_seed_0.npz") as array:
            return array["results"].astype(int)

    def edit(*changes: str) -> tuple[int, str]:
        for path in (folder / "edits").iterdir():
            path.unlink()
        code, _, err = call(capsys, "--mode=edit", *given, *(f"--config.edit.{change}" for change in changes))
        return code, err

    source = load(folder).experiment.source
    truth = take(source.test, np.arange(2))["image"].astype(int)[:, None]
    known = np.zeros(source.shape, bool)
    known[[*range(4), *range(12, 16)] if of_text else slice(4)] = True
    found = edited("inpaint")
    assert found.shape == (2, 3, *source.shape)
    assert (found == truth)[..., known].all() and (found != truth)[..., ~known].any()
    assert (found[:, 0] != found[:, 1]).any()
    changed = []
    for strength in ("0.2", "0.9"):
        code, err = edit("task=vary", f"strength={strength}")
        assert code == 0, err
        changed.append((edited("vary") != truth).mean())
    assert changed[0] < changed[1]
    for changes, message in (
        (("task=interpolate",), "take inpaint or vary"),
        (("method=dps",), "leave them 'auto' and 0"),
        (("mask=middle",), "it is one of first, last, ends" if of_text else "it is one of upper"),
    ):
        code, err = edit(*changes)
        assert code == 2 and message in err and err.count("\n") == 1
    if of_text:
        (folder / "gaps.txt").write_text("the _tate__nt\n")
        code, err = edit(f"image={folder / 'gaps.txt'}", "mask=_")
        assert code == 0, err
        alphabet, found = source.alphabet, edited("inpaint")
        assert found.shape == (1, 3, 16)
        for text in map(alphabet.decode, found[0]):
            assert text[:4] + text[5:9] + text[11:13] == "the tatent"
        assert len({alphabet.decode(row) for row in found[0]}) == 3
        shown = (folder / "edits" / "inpaint_step_2_seed_0.txt").read_text()
        assert shown.startswith("[0]\nthe \ufffdtate\ufffd\ufffdnt\ufffd\ufffd\ufffd\n[1]\nthe ")


@pytest.mark.slow
def test_a_class_is_told_and_guided_to(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Samples of a class differ from those of another, and guided ones from both; all from one draw of the prior."""
    given = (
        "--config=configs/categorical/digits_masked.py",
        f"--workdir={tmp_path}",
        *TINY["digits_masked"],
        *SHORT,
        "--config.model.label_dim=10",
        "--config.training.n_iters=40",
        "--config.training.snapshot_freq=40",
        "--config.training.snapshot_freq_for_preemption=40",
        "--config.training.snapshot_sampling=False",
        "--config.training.eval_freq=0",
        "--config.model.ema_rate=0.5",
        "--config.optim.warmup=0",
        "--config.sampling.count=16",
    )
    code, _, err = call(capsys, "--mode=train", *given)
    assert code == 0, err
    drawn = []
    for changes in (("label=3",), ("label=7",), ("label=3", "guidance=4"), ("label=7", "guidance=4")):
        code, _, err = call(capsys, "--mode=sample", *given, *(f"--config.sampling.{change}" for change in changes))
        assert code == 0, err
        (path,) = (tmp_path / "samples").glob("*.npz")
        with np.load(path) as array:
            drawn.append(array["samples"].astype(int))
            assert (array["labels"] == int(changes[0][-1])).all()
        path.unlink()
    told, other, guided, guided_other = drawn
    assert (told != other).any() and (guided != told).any()
    assert (guided != guided_other).mean() > (told != other).mean()  # guidance leads classes apart


@pytest.mark.parametrize("name", CONFIGS)
def test_training_sampling_and_measuring_fit_together(name: str) -> None:
    """Shapes and types alone, which costs no compiling: what each config trains, draws and measures."""
    config = CONFIGS[name].get_config()
    changes = [flag.removeprefix("--config.").split("=", 1) for flag in (*TINY[name], *SHORT)]
    experiment = build(fields.override(config, [(field, text) for field, text in changes]))
    variables, key = experiment.network.abstract(), jax.random.key(0)
    examples = take(experiment.encoded.test, np.arange(8))
    batch = {field: jnp.asarray(examples[field]) for field in experiment.batch_fields}
    scores = preparation.scores_of(experiment, preparation.loss_of(experiment), 1)
    found = jax.eval_shape(lambda variables: scores(variables, batch, key, True), variables)
    assert found["loss"].shape == (8,)
    for method in config.eval.samplers:
        drawn = jax.eval_shape(
            lambda variables, method=method: samplers.draw(
                sampler(experiment, variables, method), experiment.sde, key, (8, *experiment.codec.shape)
            ),
            variables,
        )
        assert drawn.x.dtype == jnp.int32 and drawn.x.shape == (8, *experiment.codec.shape)
    (measure,) = measures.create(experiment)
    columns = jax.eval_shape(lambda variables: measure.compute(variables, batch, jax.random.split(key, 8)), variables)
    assert {column: array.shape for column, array in columns.items()} == dict.fromkeys(Bound._fields, (8,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling.method": "ancestral"}, "of Gaussian noise"),
        ({"sampling.steps": 9}, "the chain has 8 levels"),
        ({"model.name": "mlp"}, "go with sde.name masked, uniform, d3pm"),
        ({"data.codec": "levels"}, "data.codec='categories'"),
        ({"sde.kernel": "magic"}, "known are uniform, absorbing, gaussian, banded"),
        ({"sampling.method": "maskgit"}, "category of its own"),
        ({"training.continuous": False}, "sde.n levels"),
    ],
)
def test_what_contradicts_is_refused_in_one_line(changes: dict, message: str) -> None:
    config = digits_d3pm.get_config()
    with config.unlocked():
        config.sde.n, config.sampling.steps, config.model.nf, config.model.num_scales = 8, 8, 4, 8
        for name, value in changes.items():
            section, field = name.split(".")
            config[section][field] = value
    with pytest.raises(ValueError, match=message) as refusal:
        build(config)
    assert "\n" not in str(refusal.value)


def test_a_gaussian_process_takes_no_sampler_over_categories() -> None:
    from configs.vp import digits

    config = digits.get_config()
    config.sampling.method = "maskgit"
    with pytest.raises(ValueError, match="a sampler over categories"):
        build(config)
