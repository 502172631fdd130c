"""Classes and guidance through a config: who is told what, which guide is followed, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from conditions.labels import NO_CLASS
from configs.edm import cifar10_cond_vp
from configs.vp import digits, digits_classes, digits_classifier
from experiment import Experiment, Refusal, build, refusing
from experiment.sampling import GUIDE, guided
from experiment.weights import load_guided
from experiment.workdir import Workdir
from tests.oracles import compiled

SMALL = {"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()}


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tiny(module: Any, **sampling: Any) -> ConfigDict:
    config = module.get_config()
    with config.unlocked():
        config.model.update(SMALL)
        if "head_channels" in config.model:
            config.model.head_channels = 8
    config.sampling.update(method="ddim", evaluations=2, grid="uniform")
    config.sampling.update(sampling)
    config.eval.update(samplers=("ddim",))
    return config


def begin(config: ConfigDict, path: Path, seed: int) -> str:
    """A run of it with random weights."""
    variables, rng = build(config).network.init(jax.random.key(0)), np.random.default_rng(seed)
    params = {name: np.float32(a + 0.1 * rng.standard_normal(a.shape)) for name, a in variables["params"].items()}
    workdir = Workdir(path)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(7, {"ema": params, "fixed": variables["fixed"]})
    return str(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Runs of random weights: told of classes, a weaker one of them, one of no classes, a classifier."""
    folder = tmp_path_factory.mktemp("runs")
    modules = {"classes": digits_classes, "weak": digits_classes, "plain": digits, "classifier": digits_classifier}
    return {name: begin(tiny(module), folder / name, i) for i, (name, module) in enumerate(modules.items())}


def points(n: int = 6) -> tuple[jax.Array, jax.Array, jax.Array]:
    return jax.random.normal(jax.random.key(0), (n, 8, 8, 1)), jnp.linspace(0.1, 0.9, n), jnp.arange(n)


def loaded(run: str, config: ConfigDict) -> tuple[Experiment, dict]:
    experiment = build(config)
    return experiment, load_guided(Workdir(run), experiment)[1]


def followed(experiment: Experiment, variables: dict, labels: jax.Array) -> np.ndarray:
    """What a sampler of the experiment follows, at `points`."""
    x, t, _ = points()
    run = compiled(lambda v: guided(experiment, v, experiment.settings, experiment.sde, {"label": labels}).score(x, t))
    return np.asarray(run(variables))


def test_the_network_s_own_scores_are_combined(runs: dict) -> None:
    x, t, labels = points()
    experiment, variables = loaded(runs["classes"], tiny(digits_classes, guidance=2.5))

    def score(labels: jax.Array) -> np.ndarray:
        found = compiled(
            lambda v: experiment.predict_fn(v, condition=experiment.condition({"label": labels})).score(x, t)
        )
        return np.asarray(found(variables))

    told, untold = score(labels), score(jnp.full_like(labels, NO_CLASS))
    assert np.abs(told - untold).max() > 1e-2
    expected = untold + 2.5 * (told - untold)
    np.testing.assert_allclose(followed(experiment, variables, labels), expected, rtol=1e-3, atol=1e-3)
    plain = compiled(lambda v: experiment.predict_fn(v).score(x, t))(variables)
    np.testing.assert_allclose(untold, plain, rtol=1e-4, atol=1e-4)  # zeros are what a network is told of no class


def test_a_weaker_model_guides(runs: dict) -> None:
    x, t, labels = points()
    config = tiny(digits_classes, guidance=1.0, guidance_convention="weight", guide=runs["weak"])
    experiment, variables = loaded(runs["classes"], config)
    own = {name: value for name, value in variables.items() if not name.startswith(GUIDE)}
    weak = loaded(runs["weak"], tiny(digits_classes))[1]
    run = compiled(lambda v: experiment.predict_fn(v, condition=experiment.condition({"label": labels})).score(x, t))
    told, other = np.asarray(run(own)), np.asarray(run(weak))
    np.testing.assert_allclose(followed(experiment, variables, labels), 2.0 * told - other, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_classifier_guides_a_network_that_knows_no_classes(runs: dict) -> None:
    x, t, labels = points()
    experiment, variables = loaded(runs["plain"], tiny(digits, guidance=3.0, guide=runs["classifier"]))
    assert experiment.told(0, 12)["label"].tolist() == [*range(10), 0, 1]
    of_guide = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}

    def gradient(v: dict) -> jax.Array:
        log_prob = experiment.guide.log_prob_fn(v, labels)
        return jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x)

    pull = np.asarray(compiled(gradient)(of_guide))
    assert np.abs(pull).max() > 1e-3
    plain = np.asarray(compiled(lambda v: experiment.predict_fn(v).score(x, t))(variables))
    np.testing.assert_allclose(followed(experiment, variables, labels), plain + 3.0 * pull, rtol=1e-3, atol=1e-3)


def test_samples_take_the_classes_in_turn_or_the_one_asked_for(runs: dict) -> None:
    experiment = build(tiny(digits_classes))
    np.testing.assert_array_equal(experiment.told(8, 4)["label"], [8, 9, 0, 1])
    np.testing.assert_array_equal(build(tiny(digits_classes, label=3)).told(8, 4)["label"], [3, 3, 3, 3])
    assert build(tiny(digits)).told(0, 4) == {}
    config = tiny(digits_classes, label=3, guidance=2.0)
    config.eval.batch_size = 50
    main.run("sample", config, runs["classes"])
    drawn = np.load(Path(runs["classes"]) / "samples" / "ddim_step_7_seed_0_label_3_guidance_2.npz")["samples"]
    main.run("sample", tiny(digits_classes, label=4, guidance=2.0), runs["classes"])
    others = np.load(Path(runs["classes"]) / "samples" / "ddim_step_7_seed_0_label_4_guidance_2.npz")["samples"]
    assert drawn.shape == others.shape == (100, 8, 8, 1) and (drawn != others).any()


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (digits, {"sampling.guidance": 2.0}, "sampling.guidance is 2.0 (scale), and the network takes no classes"),
        (digits, {"sampling.label": 3}, "sampling.label is 3; allowed is -1: the network takes no classes"),
        (digits_classes, {"sampling.label": 10}, "sampling.label is 10; allowed is 0 to 9, or -1 for each in turn"),
        (digits_classes, {"model.label_dim": 7}, "model.label_dim is 7, and the examples of 'digits' have 10 classes"),
        (
            digits_classes,
            {"training.label_dropout": 0.0, "sampling.guidance": 3.0},
            "training.label_dropout 0: the network has not learned the unconditional score",
        ),
        (digits_classes, {"sampling.guide": "nowhere"}, "sampling.guide is 'nowhere', which holds no run"),
        (digits_classes, {"training.label_dropout": 1.5}, "training.label_dropout is 1.5"),
    ],
)
def test_what_the_network_cannot_give_is_refused(module: Any, change: dict, message: str) -> None:
    config = tiny(module)
    config.update_from_flattened_dict(change)
    with pytest.raises(Refusal) as refusal, refusing():
        build(config)
    assert message in str(refusal.value)


def test_a_guide_must_have_learned_the_same_noise_and_fit(runs: dict, tmp_path: Path) -> None:
    config = tiny(digits, guide=runs["classifier"])
    with config.unlocked():
        config.sde.schedule = "cosine"
    with pytest.raises(
        ValueError, match=r"has learned the noise \{'name': 'vp', 't_min': 1e-05\} and this run \{.*cosine"
    ):
        build(config)
    config = tiny(digits, guide=runs["classifier"])
    config.data.centered = False
    with pytest.raises(ValueError, match=r"has data\.centered True, and this run False"):
        build(config)
    with pytest.raises(ValueError, match="is a model of 10 classes, of which this network knows none"):
        build(tiny(digits, guide=runs["classes"]))
    with pytest.raises(ValueError, match=r"guidance_rescale is 0\.5.*is a classifier; set it to 0"):
        build(tiny(digits, guide=runs["classifier"], guidance_rescale=0.5))
    with pytest.raises(Refusal, match=r"sampling\.guide is for the samples of a trained run"):
        main.run("train", tiny(digits_classes, guide=runs["weak"]), str(tmp_path))


def test_published_conditional_models_are_not_guided_by_what_they_have_not_learned() -> None:
    """EDM's were never trained without a class, but draw one."""
    config = cifar10_cond_vp.get_config()
    config.sampling.label = 3
    experiment = build(config, needs_data=False)
    assert experiment.num_classes == 10 and experiment.told(0, 2)["label"].tolist() == [3, 3]
    config.sampling.guidance = 2.0
    with pytest.raises(ValueError, match="has not learned the unconditional score"):
        build(config, needs_data=False)


@pytest.mark.slow
def test_a_report_says_how_it_was_guided(runs: dict) -> None:
    config = tiny(digits_classes, guidance=2.0)
    config.eval.update(enable_bpd=True, bpd_max_examples=4, num_samples=20, batch_size=20, rtol=0.1, atol=0.1)
    main.run("evaluate", config, runs["classes"])
    report = json.loads((Path(runs["classes"]) / "report.json").read_text())
    assert report["samplers"]["ddim"]["settings"]["guidance"] == 2.0
    assert np.isfinite(report["bits_per_dim"]["mean"])
