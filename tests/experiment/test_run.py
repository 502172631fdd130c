"""A run loaded in Python gives what the command line gives of the same folder, and refuses what is none."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import experiment
import main
import samplers
from configs.vp import digits
from experiment.workdir import Workdir


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tiny() -> ConfigDict:
    """Digits with a small network that learns fast, and few evaluations a sample."""
    config = digits.get_config()
    with config.unlocked():
        config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.model.ema_rate = 0.9
    config.optim.update(lr=1e-2, warmup=0, warmup_images=0.0)
    config.training.update(n_iters=100, batch_size=32, n_jitted_steps=1, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=50, snapshot_freq_for_preemption=50, log_freq=50)
    config.sampling.update(method="ddim", evaluations=10)
    config.eval.update(batch_size=60, enable_sampling=False, bpd_max_examples=6, rtol=0.1, atol=0.1)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    main.run("train", tiny(), str(folder))
    return folder


def test_samples_are_those_of_the_command_line(trained: Path) -> None:
    config = tiny()
    config.eval.seed = 3
    main.run("sample", config, str(trained))
    drawn = np.load(trained / "samples" / "ddim_step_100_seed_3.npz")
    run = experiment.load(trained)
    samples = run.sampler()(jax.random.key(3), 100)
    assert samples.x.dtype == np.uint8 and samples.x.shape == (100, 8, 8, 1)
    assert np.mean((samples.x > 0) & (samples.x < 16)) > 0.2, "levels that depend on the weights"
    np.testing.assert_array_equal(samples.x, drawn["samples"])
    np.testing.assert_array_equal(samples.evaluations, drawn["evaluations_each"])
    other = run.sampler("heun", evaluations=5)(jax.random.key(3), 4)
    assert other.evaluations.tolist() == [5] * 4 and (other.x != samples.x[:4]).any()


def test_points_of_the_prior_are_taken_in_place_of_a_number(trained: Path) -> None:
    run = experiment.load(trained)
    key_prior, key_path = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))
    z = run.sde.prior_sample(key_prior, (5, 8, 8, 1))
    draw = run.sampler()
    np.testing.assert_array_equal(draw(key_path, z).x, draw(jax.random.key(0), 5).x)
    half = draw(key_path, z.astype(jnp.float16)).x  # of another type than those that the sampler was compiled for
    assert half.shape == (5, 8, 8, 1) and np.mean(half == draw(key_path, z).x) > 0.5


@pytest.mark.slow
def test_bits_are_those_of_the_command_line(trained: Path) -> None:
    main.run("evaluate", tiny(), str(trained))
    report = json.loads((trained / "report.json").read_text())["bits_per_dim"]
    run = experiment.load(trained, {"eval.batch_size": 4})  # the last batch is filled up
    images = np.stack([run.experiment.source.test[i]["image"] for i in range(6)])
    bits = run.log_likelihood(images)
    assert bits.shape == (6,)
    np.testing.assert_allclose(bits.mean(dtype=np.float64), report["mean"], rtol=1e-5)
    with pytest.raises(ValueError, match=r"the examples are float32 .*levels 0 to 16, as whole numbers"):
        run.log_likelihood(images.astype(np.float32))
    with pytest.raises(ValueError, match=r"the examples are uint8 \(6, 8, 8\)"):
        run.log_likelihood(images[..., 0])


@pytest.mark.slow
def test_the_score_and_the_prediction_are_the_network_s(trained: Path) -> None:
    run = experiment.load(trained)
    x, t = jax.random.normal(jax.random.key(1), (3, 8, 8, 1)), jnp.asarray([0.1, 0.5, 0.9])
    x0, eps, _ = run.prediction(x, t)
    alpha, sigma = (np.asarray(f(t))[:, None, None, None] for f in (run.sde.alpha, run.sde.sigma))
    np.testing.assert_allclose(alpha * x0 + sigma * eps, x, atol=1e-5)
    np.testing.assert_allclose(run.score(x, t), -eps / sigma, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(run.score)(x, t), run.score(x, t), rtol=1e-4, atol=1e-5)
    settings = samplers.Settings(method="ddim", evaluations=2)  # which asks for it within a loop
    drawn = jax.jit(samplers.create(run.sde, run.prediction, settings))(jax.random.key(0), x)
    assert np.isfinite(drawn.x).all()
    output = run.experiment.network.apply(run.variables, x, 999.0 * t)  # the digits predict the noise
    np.testing.assert_allclose(eps, output, rtol=1e-3, atol=1e-4)


def test_images_go_to_x_and_back(trained: Path) -> None:
    codec = experiment.load(trained).codec
    images = np.arange(17, dtype=np.uint8).repeat(4)[:64].reshape(1, 8, 8, 1)
    x = codec.encode(images, jax.random.split(jax.random.key(0), 1))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(codec.decode(np.asarray(x)), images)


def test_a_checkpoint_raw_weights_and_fields_may_be_chosen(trained: Path) -> None:
    run = experiment.load(trained)
    first = experiment.load(trained, checkpoint=50)
    raw = experiment.load(trained, ema=False)
    assert (run.step, first.step, raw.step) == (100, 50, 100)
    name = max(run.variables["params"], key=lambda name: run.variables["params"][name].size)
    weights = [np.asarray(each.variables["params"][name]) for each in (run, first, raw)]
    assert (weights[0] != weights[1]).any() and (weights[0] != weights[2]).any()
    assert experiment.load(trained, {"sampling.evaluations": 7}).config.sampling.evaluations == 7
    changed = experiment.load(trained, sampling={"method": "euler", "s_churn": 1.5}, seed=4).config
    assert (changed.sampling.method, changed.sampling.s_churn, changed.seed) == ("euler", 1.5, 4)
    with pytest.raises(FileNotFoundError, match="5"):
        experiment.load(trained, checkpoint=5)


def test_what_is_not_allowed_is_refused_in_one_line(trained: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=rf"{folder} holds no run \(no config\.json\)") as error:
            experiment.load(folder)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"sampling\.evaluatons'; did you mean 'evaluations'"):
        experiment.load(trained).sampler("heun", evaluatons=5)
    with pytest.raises(ValueError, match=r"model\.nf \(saved 8, now 16\)"):
        experiment.load(trained, {"model.nf": 16})
    draw = experiment.load(trained).sampler()
    with pytest.raises(ValueError, match="label is 3; allowed is None: the network takes no classes"):
        draw(jax.random.key(0), 4, 3)
    with pytest.raises(ValueError, match="unknown field that the network is told 'lable'; known: none"):
        draw(jax.random.key(0), 4, lable=3)


@pytest.mark.slow
def test_classes_are_drawn_in_turn_or_as_they_are_asked_for(tmp_path: Path) -> None:
    config = tiny()
    with config.unlocked():
        config.model.label_dim = 10
    workdir, rng = Workdir(tmp_path), np.random.default_rng(0)
    workdir.begin(config)
    variables = experiment.build(config).network.init(jax.random.key(0))
    params = {name: np.float32(a + 0.1 * rng.standard_normal(a.shape)) for name, a in variables["params"].items()}
    with workdir.store() as store:
        store.save(7, {"ema": params, "fixed": variables["fixed"]})
    run, key = experiment.load(tmp_path), jax.random.key(0)
    draw = run.sampler()
    each, third = draw(key, 4).x, draw(key, 4, 3).x
    for kind in (np.int32, np.int8):
        np.testing.assert_array_equal(each, draw(key, 4, np.arange(4, dtype=kind)).x)
    np.testing.assert_array_equal(third, run.sampler(label=3)(key, 4).x)
    np.testing.assert_array_equal(third[3], each[3])
    x, t = jax.random.normal(key, (2, 8, 8, 1)), jnp.full(2, 0.5)
    assert (run.score(x, t) != experiment.load(tmp_path, sampling={"label": 3}).score(x, t)).any()
    with pytest.raises(ValueError, match="label is 10; allowed is 0 to 9"):
        draw(key, 4, 10)


@pytest.mark.slow
def test_the_data_set_need_not_be_there(tmp_path: Path) -> None:
    config = tiny()
    with config.unlocked():
        config.data.update(dataset="folder", path=str(tmp_path / "gone"))
    config.data.random_flip = False
    workdir = Workdir(tmp_path / "run")
    workdir.begin(config)
    variables = experiment.build(config, needs_data=False).network.init(jax.random.key(0))
    with workdir.store() as store:
        store.save(7, {"ema": variables["params"], "fixed": variables["fixed"]})
    run = experiment.load(workdir.path)
    images = run.sampler()(jax.random.key(0), 2).x
    assert run.step == 7 and images.shape == (2, 8, 8, 1) and images.dtype == np.uint8
