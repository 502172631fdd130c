"""Each benchmark runs at a tiny size and writes what it promises; how fast anything is, is not tested."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from benchmarks import (
    autoencoder,
    checkouts,
    data_pipeline,
    digits_control,
    flops,
    guidance,
    kept_memory,
    likelihood,
    rate_distortion,
    sampling,
    solvers,
    solvers_deviation,
    startup,
    text,
    text_unet,
    train_step,
)
from benchmarks.common import first_calls, speedups, timed_in_turn
from configs.text import scenes, scenes_clip
from configs.ve import cifar10_ncsnpp_continuous
from configs.vp import cifar10_ddpmpp_continuous, digits, digits_classes
from experiment import build
from experiment.workdir import Workdir
from limits import sides
from models.functional import Network
from tests.experiment.test_clip_guidance import begin
from tests.experiment.test_clip_guidance import tiny as tiny_scenes
from tests.training.given import losses_at
from training.preparation import loss_of

CONFIG = "configs/vp/toy_mixture8_mlp.py"
ROOT = Path(__file__).parents[1]
TINY = [f"--config={ROOT / CONFIG}", "--batch_size=8", "--repeats=2"]


@pytest.mark.parametrize(
    ("benchmark", "options", "figures"),
    [
        pytest.param(
            train_step,
            ["--steps_per_call=2"],
            {"images_per_second", "seconds_per_step", "first_call_seconds", "share_of_float32_peak"},
            id="train_step",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            startup,
            ["--repeats=1"],
            {"seconds", "processor_seconds"},
            id="startup",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            kept_memory,
            ["--repeats=1", "--steps=4"],
            {"seconds_per_step", "system_seconds", "largest_gib"},
            id="kept_memory",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            checkouts,
            [f"--before={ROOT}", "--repeats=1", "--steps=2"],
            {"second_start_seconds", "second_start_processor_seconds", "seconds_per_step"},
            id="checkouts",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            data_pipeline,
            [f"--config={ROOT / 'configs/vp/digits.py'}", "--files=20", "--batches=2", "--steps=2"],
            {"images_per_second", "seconds_per_batch", "share_of_step_waiting"},
            id="data_pipeline",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            sampling,
            ["--steps=3", "--method=flow_heun"],
            {"evaluations_per_second", "milliseconds_per_evaluation", "seconds"},
            id="sampling",
        ),
        pytest.param(
            likelihood,
            ["--tolerance=1e-4", "--queue=2", "--reverse"],
            {"seconds_per_image", "evaluations_mean", "nats_mean", "seconds"},
            id="likelihood",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            guidance,
            [f"--config={ROOT / 'configs/vp/digits_classes.py'}", "--steps=2"],
            {"times_the_unguided_step", "seconds"},
            id="guidance",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_benchmark_writes_its_record(benchmark, options: list[str], figures: set[str], tmp_path: Path) -> None:
    out = tmp_path / "results" / "record.json"
    benchmark.main([*TINY, *options, f"--out={out}"])
    found = json.loads(out.read_text())
    assert {"jax", "jaxlib", "python"} <= found["environment"]["versions"].keys()
    assert "cpu" in found["environment"]["device"].lower()
    assert found["arguments"]["batch_size"] == ([8] if benchmark is train_step else 8)
    assert found["weights"] == "random, not trained"
    assert set(found["contenders"]) == {found["baseline"], *found["times_faster_than_baseline"]}
    assert len(found["contenders"]) >= 2
    for row in found["contenders"].values():
        assert figures <= row.keys()
        numbers = [v for f in figures for v in (row[f].values() if isinstance(row[f], dict) else [row[f]])]
        assert all(math.isfinite(v) and v != 0 for v in numbers)
    nats = [row["nats_mean"] for row in found["contenders"].values() if "nats_mean" in row]
    assert nats == pytest.approx(nats[:1] * len(nats), rel=1e-3)  # they solve the same ODE
    for ratio in found["times_faster_than_baseline"].values():
        assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"] < math.inf


@pytest.mark.slow
def test_an_autoencoder_is_timed_whole_and_in_tiles(tmp_path: Path) -> None:
    """In processes of their own; a decoder that sees the whole picture in its norms differs a little in tiles."""
    sizes = "nf=8, ch_mult=(1, 2), num_res_blocks=1, num_groups=4"
    (tmp_path / "tiny.py").write_text(
        "from configs.autoencoders import kl_f8\n\n\ndef get_config():\n    config = kl_f8.get_config().unlock()\n"
        f"    config.model.update({sizes})\n    return config.lock()\n"
    )
    options = [f"--config={tmp_path / 'tiny.py'}", "--size=32", "--tile=10", "--repeats=1"]
    found = autoencoder.main([*options, f"--out={tmp_path / 'record.json'}"])["contenders"]
    assert set(found) == set(autoencoder.WAYS)
    for row in found.values():
        assert row["median_seconds"] > 0 and row["peak_bytes"] > row["program_bytes"] > 0
    assert found["tiled decode"]["program_bytes"] < found["decode"]["program_bytes"]
    assert 0 < found["tiled decode"]["difference_rms"] < 0.5


def _operations(jaxpr: Any) -> int:
    """Of the convolutions and products of a program, two for each multiply-add."""
    total = 0
    for equation in jaxpr.eqns:
        shapes, size = [v.aval.shape for v in equation.invars], sum(v.aval.size for v in equation.outvars)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * size * math.prod(shapes[0][i] for i in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            outputs = shapes[1][equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * size * math.prod(shapes[1]) // outputs
        total += sum(_operations(inner) for inner in jax.core.jaxprs_in_params(equation.params))
    return total


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image_size": (8, 12), "ch_mult": (1, 2, 3), "num_res_blocks": 2, "attn_resolutions": (8, 4), "label_dim": 3},
        {"fir": True, "progressive_input": "residual", "embedding_type": "fourier", "scale_by_sigma": True},
        {"progressive": "output_skip", "progressive_input": "input_skip", "progressive_combine": "cat"},
        {"progressive": "residual", "fir": True, "resblock_type": "ddpm", "attend_each_block": True},
    ],
)
def test_operations_of_the_layers_are_those_of_the_program(options: dict[str, Any]) -> None:
    """The program before the compiler, forward, whose convolutions are plain ones and products."""
    tiny = {
        "image_size": 8,
        "num_channels": 3,
        "nf": 8,
        "ch_mult": (1, 2),
        "num_res_blocks": 1,
        "attn_resolutions": (4,),
    }
    network = Network.create("ncsnpp", **(tiny | options))
    size = sides(dict(network.options)["image_size"])
    arguments = jax.ShapeDtypeStruct((1, *size, 3), float), jax.ShapeDtypeStruct((1,), float)
    condition = {"label": jax.ShapeDtypeStruct((1, 3), float)} if "label_dim" in options else None
    program = jax.make_jaxpr(network.apply)(network.abstract(), *arguments, condition)
    assert flops.forward(network) == _operations(program.jaxpr)


@pytest.mark.slow
def test_operations_of_the_published_network() -> None:
    """Song et al.'s code makes 21.79 GFLOP an image, 0.04 of them in filters that are not layers."""
    network = build(cifar10_ncsnpp_continuous.get_config(), needs_data=False).network
    assert flops.forward(network) == pytest.approx(21.79e9 - 0.04e9, abs=0.01e9)
    with pytest.raises(ValueError, match=r"'edm_unet'.*ncsnpp"):
        flops.forward(Network("edm_unet"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_pytorch_contender_is_the_same_network_and_loss(name: str, channels_last: bool) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks import torch_ncsnpp, torch_step

    config = {"vp": cifar10_ddpmpp_continuous, "ve": cifar10_ncsnpp_continuous}[name].get_config()
    with config.unlocked():
        config.data.image_size = 8
        config.model.update(nf=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,), dropout=0.0)
    experiment = build(config, needs_data=False)
    variables, rng = experiment.network.init(jax.random.key(0)), np.random.default_rng(0)
    noisy = {k: np.asarray(v) + 0.1 * rng.standard_normal(v.shape).astype("f4") for k, v in variables["params"].items()}
    variables = variables | {"params": noisy}
    module = torch_ncsnpp.of_network(experiment.network, variables)
    assert sum(tensor.numel() for tensor in module.state_dict().values()) == experiment.network.count()
    module = module.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    x0, eps = (rng.standard_normal((3, 8, 8, 3)).astype("f4") for _ in range(2))
    t = np.array([0.01, 0.4, 1.0], "f4")

    def moved(x: np.ndarray) -> Any:
        return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())

    label = np.array([0.02, 3.0, 400.0], "f4")
    ours = np.asarray(experiment.network.apply(variables, x0, label))
    theirs = module(moved(x0), torch.from_numpy(label)).detach().numpy().transpose(0, 2, 3, 1)
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(ours).max()
    predict = experiment.predict_fn(variables)
    losses = losses_at(loss_of(experiment), predict, *map(jnp.asarray, (x0, t, eps)))
    found = torch_step.losses(experiment, module, moved(x0), torch.from_numpy(t), moved(eps)).detach().numpy()
    assert found == pytest.approx(np.asarray(losses), rel=1e-3)
    step = torch_step.step_of(experiment, module, rng.integers(0, 256, (2, 8, 8, 3), np.uint8))
    step()
    step()  # from the state of the first


@pytest.mark.slow
def test_the_contender_of_diffusers_has_our_sizes() -> None:
    pytest.importorskip("diffusers")
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks import diffusers_ncsnpp

    network = build(cifar10_ncsnpp_continuous.get_config(), needs_data=False).network
    theirs = diffusers_ncsnpp.like(network)
    assert sum(p.numel() for p in theirs.parameters()) == pytest.approx(network.count(), rel=0.02)
    with FlopCounterMode(display=False) as counter:
        assert theirs(torch.zeros(1, 3, 32, 32), torch.ones(1)).shape == (1, 3, 32, 32)
    assert counter.get_total_flops() == pytest.approx(flops.forward(network), rel=0.01)
    with pytest.raises(ValueError, match="embedding_type"):
        diffusers_ncsnpp.like(build(cifar10_ddpmpp_continuous.get_config(), needs_data=False).network)


def test_a_ratio_is_of_equal_work_in_the_same_round() -> None:
    seconds = {"base": [1.0, 2.0, 4.0], "other": [1.0, 1.0, 1.0]}
    assert speedups(seconds, "base") == {"other": {"median": 2.0, "min": 1.0, "max": 4.0}}
    assert speedups(seconds, "base", {"base": 1, "other": 2})["other"]["median"] == 4.0


def test_contenders_alternate_after_one_warm_up_each() -> None:
    calls: list[str] = []
    seconds = timed_in_turn({name: lambda n=name: calls.append(n) for name in "ab"}, repeats=2)
    assert calls == list("ababab")
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_a_first_call_that_fails_for_an_excused_reason_leaves_its_contender_out() -> None:
    def failing() -> None:
        raise RuntimeError("no room")

    contenders = {"a": lambda: None, "b": failing, "c": lambda: None}
    asked: list[str] = []
    assert first_calls(contenders, lambda name, error: not asked.append(f"{name}: {error}")).keys() == {"a", "c"}
    assert asked == ["b: no room"]
    with pytest.raises(RuntimeError, match="no room"):
        first_calls(contenders)


def test_the_fastest_compiled_step_is_taken_for_each_library_and_dtype() -> None:
    speeds = {
        "pmap": 9.0,
        "PyTorch eager, contiguous": 8.0,
        "PyTorch compiled, contiguous": 2.0,
        "PyTorch compiled, channels last": 3.0,
        "PyTorch compiled, contiguous, bfloat16": 7.0,
        "PyTorch compiled, channels last, bfloat16": 6.0,
        "diffusers compiled, contiguous": 1.0,
    }
    assert train_step.fastest_compiled({name: {"images_per_second": speed} for name, speed in speeds.items()}) == {
        "PyTorch compiled": "PyTorch compiled, channels last",
        "PyTorch compiled, bfloat16": "PyTorch compiled, contiguous, bfloat16",
        "diffusers compiled": "diffusers compiled, contiguous",
    }


def test_compiled_pytorch_is_a_contender_and_each_timing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Contenders that do nothing stand for the steps, so that neither PyTorch nor a compilation is needed."""

    def nothing() -> None:
        pass

    def failing() -> None:
        raise RuntimeError("no C++ compiler\nand much more")

    theirs = {
        "PyTorch eager, contiguous": nothing,
        "PyTorch compiled, contiguous": failing,
        "PyTorch compiled, channels last": nothing,
    }
    monkeypatch.setattr(train_step, "ours", lambda *_: ({train_step.GRADIENT: nothing, "pmap": nothing}, 0.0, 1))
    monkeypatch.setattr(train_step, "pytorchs", lambda *_: (theirs, {}))
    monkeypatch.setattr(train_step, "products", lambda dtype: {f"{dtype} product": (nothing, 1.0)})
    out = tmp_path / "record.json"
    train_step.main([*TINY, f"--out={out}"])
    found, told = json.loads(out.read_text()), capsys.readouterr()
    assert found["contenders"].keys() == {"gradient alone", "pmap", *theirs} - {"PyTorch compiled, contiguous"}
    assert found["libraries_without"] == {"PyTorch compiled, contiguous": "no C++ compiler"}
    assert found["fastest_compiled"] == {"PyTorch compiled": "PyTorch compiled, channels last"}
    assert found["times_faster_than_compiled"]["PyTorch compiled, channels last"].keys() >= {"pmap"}
    assert "as fast as PyTorch compiled, channels last" in told.out
    for name in ("timing", *found["contenders"]):
        assert name in told.err


def test_the_pytorch_contenders_are_eager_and_compiled_in_both_layouts() -> None:
    pytest.importorskip("torch")
    config = cifar10_ncsnpp_continuous.get_config()
    with config.unlocked():
        config.data.image_size = 8
        config.model.update(nf=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,))
    experiment = build(config, needs_data=False)
    variables = experiment.network.init(jax.random.key(0))
    contenders, without = train_step.pytorchs(experiment, variables, np.zeros((2, 8, 8, 3), np.uint8))
    layouts = ("contiguous", "channels last")
    assert contenders.keys() >= {f"PyTorch {way}, {layout}" for way in ("eager", "compiled") for layout in layouts}
    assert "PyTorch" not in without


def test_a_missing_config_is_named() -> None:
    with pytest.raises(ValueError, match=r"configs/nothing\.py"):
        sampling.main(["--config=configs/nothing.py"])


@pytest.mark.slow
def test_the_solvers_are_measured_on_the_mixtures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every grid, end and budget of one solver; where it is meant to be used, its error falls with every budget."""
    out = tmp_path / "solvers.json"
    solvers.main(["--solvers", "ipndm", "--processes", "VP cosine", "--powers", "7", f"--out={out}"])
    found = json.loads(out.read_text())
    grids = ("uniform", "quadratic", "log_snr", "karras 7")
    for mixture in solvers.MIXTURES:
        errors = found["errors"]["VP cosine"][mixture]["ipndm"]
        assert errors.keys() == {f"{grid} to {end}" for grid in grids for end in ("t_min", "data")}
        for end in ("t_min", "data"):
            assert list(errors[f"quadratic to {end}"]) == ["5", "10", "20", "50"]
            falling = list(errors[f"quadratic to {end}"].values())
            assert falling == sorted(falling, reverse=True) and 0.0 < falling[-1] < 1e-3
    assert [row["budget"] for row in found["best"]] == [row["budget"] for row in found["public"]] == [5, 10, 20, 50] * 2
    printed = capsys.readouterr().out
    for words in ("| gm2 | 5 evaluations", "| VP cosine, ipndm |", "| the best public run of each |", "dpm-solver"):
        assert words in printed


@pytest.mark.slow
def test_the_stochastic_solvers_deviations_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "deviation.json"
    solvers_deviation.main(["--solvers", "dpmpp_2m_sde", "--processes", "VE", "--samples", "2000", f"--out={out}"])
    found = json.loads(out.read_text())["deviations"]["VE"]["dpmpp_2m_sde"]
    assert found.keys() == {"uniform", "quadratic", "log_snr", "karras"}
    assert found["log_snr"]["50"] == pytest.approx(0.4, abs=0.03)


@pytest.mark.slow
def test_steered_digits_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an untrained run: every figure is there, known pixels are exact, and nothing is recognised."""
    config = digits_classes.get_config()
    config.sampling.evaluations = 3
    workdir = Workdir(tmp_path / "run")
    variables = build(config).network.init(jax.random.key(0))
    workdir.begin(config)
    with workdir.store() as store:
        store.save(1, {"ema": variables["params"], "fixed": variables["fixed"]})
    for name, value in {"SAMPLES": 40, "INPAINTED": 4, "SCALES": (1.0, 2.0), "METHODS": ("consistent",)}.items():
        monkeypatch.setattr(digits_control, name, value)
    monkeypatch.setattr(digits_control, "from_file", lambda _: config)
    digits_control.main([f"--workdir={workdir.path}", f"--out={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["judge_on_real_test_digits"] > 0.97
    assert [row["scale"] for row in found["classes"]] == [1.0, 2.0]
    assert all(row["recognised"] < 0.5 for row in found["classes"])
    assert [row["method"] for row in found["inpainting"]][2:] == ["consistent"] and found["inpainting"][2][
        "known_exact"
    ]


@pytest.mark.slow
def test_a_text_conditional_network_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    model = {"nf": 8, "ch_mult": [1, 2], "depths": [0, 1], "num_res_blocks": 1, "num_heads": [2], "text_dim": 6}
    sizes = ["--size=8", "--tokens=3", "--repeats=2", "--dtypes", "float32"]
    flags = [f"--model={json.dumps(model | {'num_groups': 4})}", *sizes, f"--out={tmp_path / 'out.json'}"]
    result = text_unet.main(flags)
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(result))
    row = result["contenders"]["ours float32"]
    assert row["parameters"] > 1000 and row["peak_bytes"] > row["program_bytes"] > 0
    assert 0 < row["seconds"]["min"] <= row["median_seconds"] and row["processor_seconds"] > 0
    assert ("diffusers float32" in result["contenders"]) != bool(result["libraries_without"])


def untrained(folder: Path, config: ConfigDict) -> Path:
    """A run of that config, with drawn weights, as step 1."""
    workdir = Workdir(folder)
    variables = build(config).network.init(jax.random.key(0))
    workdir.begin(config)
    with workdir.store() as store:
        store.save(1, {"ema": variables["params"], "fixed": variables["fixed"]})
    return folder


@pytest.mark.slow
def test_an_autoencoder_is_put_beside_the_progressive_coding_of_pixels(tmp_path: Path) -> None:
    """More bits, less error; an autoencoder whose bits lie within the curve has an error of pixels beside its own."""
    config = digits.get_config()
    config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    pixels, code = untrained(tmp_path / "pixels", config), tmp_path / "code"
    code.mkdir()
    (code / "report.json").write_text(json.dumps({"reconstruction": {"bits_an_image": 40.0, "rmse": 12.0}}))
    arguments = [f"--pixels={pixels}", f"--autoencoder={code}", "--levels=24", "--examples=3"]
    rate_distortion.main([*arguments, f"--out={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    bits, errors = found["pixels"]["bits_an_image"], found["pixels"]["rmse"]
    assert len(bits) == len(errors) == 24 and bits == sorted(bits) and found["pixels"]["lossless"] > bits[-1]
    assert errors[-1] < errors[0] < 255.0
    assert found["autoencoders"]["code"] == {"bits_an_image": 40.0, "rmse": 12.0}
    assert (tmp_path / "found.png").stat().st_size > 1000


@pytest.mark.slow
def test_guidance_by_words_and_by_clip_stand_beside_each_other(tmp_path: Path) -> None:
    """At as many evaluations of the network: two for each of two steps, or one for each of four."""
    config = tiny_scenes(scenes)
    config.eval.judge = "scenes"
    run, guide = begin(config, tmp_path / "run", 0), begin(tiny_scenes(scenes_clip), tmp_path / "guide", 1)
    flags = [f"--workdir={run}", f"--guide={guide}", "--samples=8", "--scales", "1", "3", "--clip_scales", "2"]
    text.main([*flags, "--out", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["evaluations"] for row in found["classifier_free"]] == [2, 4]
    for name in ("clip", "clip_alone"):
        (row,) = found[name]
        assert (row["scale"], row["evaluations"], row["clip_evaluations"]) == (2, 4, 4)
        assert row["seconds_a_sample"] > 0 and set(row["shown"]) == set(found["judge"])


@pytest.mark.parametrize(("platform", "counted"), [("linux", 3 * 2**20), ("darwin", 3 * 2**30)])
def test_the_most_memory_is_read_in_what_a_platform_counts(
    platform: str, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_memory.sys, "platform", platform)
    assert kept_memory.gib(counted) == 3.0
