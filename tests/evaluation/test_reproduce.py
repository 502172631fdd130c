"""--mode=reproduce and --mode=stats end to end, with a stand-in for the Inception network that is quick."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from configs.vp import digits
from evaluation import features, reproduce
from experiment import Refusal, build
from experiment.workdir import Workdir
from metrics import sample_set
from metrics.inception import Features

SHA = "ab" * 32


class Quick:
    """Random linear maps of the pixels, in the shapes of Inception's features."""

    sha256 = SHA

    def __init__(self, resize: str):
        self.resize = resize
        draw = np.random.default_rng(0)
        self.maps = [draw.normal(size=(8 * 8 * 3, n)).astype(np.float32) / 800 for n in (2048, 1008, 2023)]

    def __call__(self, images: np.ndarray) -> Features:
        flat = np.asarray(images, np.float32).reshape(len(images), -1)
        return Features(*(flat @ m for m in self.maps))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained run."""
    jax.config.update("jax_disable_most_optimizations", True)
    config = _config()
    folder = tmp_path_factory.mktemp("reproduce") / "run"
    experiment = build(config)
    variables = experiment.network.init(jax.random.key(0))
    tree = {"params": variables["params"], "ema": variables["params"], "fixed": variables["fixed"]}
    with Workdir(folder).store() as store:
        store.save(7, tree, {"imported": {"file": "checkpoint_8.pth", "sha256": "cd" * 32}})
    Workdir(folder).begin(config)
    yield folder
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "load_inception", lambda path, resize, expected: Quick(resize))
    # roots of covariances of 2048 numbers take seconds; test_fid.py has the distance itself
    monkeypatch.setattr(sample_set, "frechet_distance", lambda a, b: float(np.abs(a.covariance - b.covariance).sum()))


def _config(**published: float) -> ConfigDict:
    config = digits.get_config()
    config.model.update(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.sampling.update(method="flow_euler", flow_steps=2, rtol=1e-1, atol=1e-1)
    config.eval.update(num_samples=40, batch_size=32, bpd_max_examples=8, rtol=1e-1, atol=1e-1, stats_split="test")
    config.eval.update(samplers=("flow_euler", "ode"), bpd_probe="rademacher", inception="weights.pth")
    with config.unlocked():
        config.published = ConfigDict(published)
    return config


@pytest.mark.slow
def test_a_reproduction_names_every_difference(workdir: Path, capsys: pytest.CaptureFixture) -> None:
    config = _config(fid=2.55, inception_score=9.58, fid_ode=3.93, bits_per_dim=3.16)
    with config.unlocked():
        config.published.update(num_samples=50_000, checkpoint_rule=ConfigDict({"fid": "best_fid"}))
    main.run("reproduce", config, str(workdir))
    text = (workdir / "reproduction.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    report = json.loads((workdir / "report.json").read_text())
    rows = {name: report["samplers"][name]["inception"] for name in ("flow_euler", "ode")}
    bits = report["bits_per_dim"]["mean"]
    fid, fid_ode = rows["flow_euler"]["fid"], rows["ode"]["fid"]
    label = "(not comparable to published"
    assert f"| FID-40 {label} FID-50k) | 2.55 | {fid:.3f} | {fid - 2.55:+.3f} |" in text
    assert f"| FID-40 {label} FID-50k) of the probability flow | 3.93 | {fid_ode:.3f} | {fid_ode - 3.93:+.3f} |" in text
    score = rows["flow_euler"]["inception_score"]["mean"]
    assert f"| 9.58 | {score:.3f} | {score - 9.58:+.3f} |" in text
    assert f"| bits/dim | 3.16 | {bits:.4f} | {bits - 3.16:+.4f} |" in text
    for words in (
        *(
            "40 samples",
            "Seed: 0",
            "moving average (EMA), rate",
            "3 network evaluations each; flow_steps 2",
            "flow_steps 2",
            SHA,
            "pytorch",
            "uniform",
        ),
        *("uniform", "eps 1e-05", "t_min", "rtol 0.1", "num_samples: 50000", "fid best_fid", "digits", "step 7"),
    ):
        assert words in text, words
    assert "FID-40 (not comparable to published FID-50k)" in (workdir / "report.md").read_text()


@pytest.mark.slow
def test_what_is_not_measured_is_said(workdir: Path) -> None:
    config = _config(fid=2.55, bits_per_dim=3.16)
    config.eval.enable_sampling = False
    main.run("reproduce", config, str(workdir))
    text = (workdir / "reproduction.md").read_text()
    assert "| FID | 2.55 | not measured: eval.enable_sampling is False | |" in text


@pytest.mark.slow
def test_several_seeds_give_minimum_mean_and_spread(workdir: Path) -> None:
    config = _config(fid=2.55)
    config.eval.update(seeds=2, enable_bpd=False, samplers=("flow_euler",))
    main.run("reproduce", config, str(workdir))
    found = json.loads((workdir / "report.json").read_text())["samplers"]["flow_euler"]["inception"]
    assert found["seeds"] == 2 and found["fid"]["min"] == min(found["fid"]["values"])
    assert len(set(found["fid"]["values"])) == 2
    text = (workdir / "reproduction.md").read_text()
    assert "(not comparable to published FID-50k), min of 2 seeds |" in text and f"{found['fid']['min']:.3f}" in text
    assert "spread" in text


@pytest.mark.parametrize(
    ("published", "fields", "named"),
    [
        ({}, {}, "no published numbers"),
        ({"fid": 2.5}, {"inception": ""}, "eval.inception is empty; fid need"),
        ({"bits_per_dim": 3.1}, {"end_step": 7}, "one checkpoint"),
        ({"fid": 2.5}, {"samplers": ("ode",)}, "need flow_euler as well"),
        (
            {"fid": 2.5, "bits_per_dim": 3.1},
            {"enable_bpd": False, "enable_sampling": False},
            "nothing to evaluate",
        ),
        ({"fid": 2.5}, {"num_samples": 9}, "eval.num_samples is 9"),
        (
            {"bits_per_dim": 3.1},
            {"inception": "", "reference_stats": "stats.npz"},
            "eval.reference_stats is 'stats.npz' and eval.inception is empty",
        ),
        ({"fid": 2.5}, {"samplers": ("ode", "flow_euler", "ode")}, "each given once"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(workdir: Path, published: dict, fields: dict, named: str) -> None:
    config = _config(**published)
    config.eval.update(fields)
    with pytest.raises(Refusal, match=named):
        main.run("reproduce", config, str(workdir))


@pytest.mark.slow
def test_statistics_of_a_mode_serve_as_reference(workdir: Path, tmp_path: Path) -> None:
    config = _config()
    main.run("stats", config, str(tmp_path))
    path = tmp_path / "stats" / "digits_test_pytorch_abababab.npz"
    config.eval.update(reference_stats=str(path), enable_bpd=False, samplers=("flow_euler",))
    main.run("evaluate", config, str(workdir))
    against = json.loads((workdir / "report.json").read_text())["samplers"]["flow_euler"]["inception"]["reference"]
    assert against["count"] == 297 and against["dataset"] == "digits" and against["inception_sha256"] == SHA
    config.eval.inception_resize = "tf1"
    with pytest.raises(Refusal, match="resize"):
        main.run("evaluate", config, str(workdir))


@pytest.mark.slow
def test_the_features_of_all_samples_count(workdir: Path) -> None:
    """The rounds' metrics are those of one pass over all samples."""
    config = _config()
    config.eval.update(enable_bpd=False, samplers=("flow_euler",))
    main.run("evaluate", config, str(workdir))
    folder = workdir / "evaluation" / "step_00000007" / "flow_euler_seed_0"
    drawn = np.concatenate([np.load(path)["samples"] for path in sorted(folder.glob("round_*.npz"))])
    experiment, quick = build(config), Quick("pytorch")
    found = features.extract(quick, experiment.codec.stretch(drawn), 40, batch_size=7)
    from evaluation import quality

    expected = sample_set.of_set(quality.InceptionDistance(experiment, Workdir(workdir), quick).reference, found)
    saved = json.loads((workdir / "report.json").read_text())["samplers"]["flow_euler"]["inception"]
    for name in ("fid", "sfid", "precision", "recall"):
        assert saved[name] == pytest.approx(expected[name], rel=1e-6)
    assert saved["inception_score"]["mean"] == pytest.approx(expected["inception_score"]["mean"], rel=1e-6)


def test_every_published_number_has_a_row() -> None:
    from configs import published

    assert set(published.NUMBERS) == set(reproduce.ROWS)
