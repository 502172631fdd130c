"""What devices change: who works when, and no number."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.vp import toy_mixture8_mlp
from evaluation import samples
from evaluation.samples import draw_rounds
from experiment import Experiment, Failure, build
from experiment.placing import each_on_its_own, on_devices, on_each, one_ahead
from experiment.sampling import Drawer


@pytest.fixture(scope="module")
def tiny() -> tuple[Experiment, dict]:
    config = toy_mixture8_mlp.get_config()
    config.model.update({"width": 8, "depth": 1})
    config.sampling.update({"steps": 4, "flow_steps": 4, "rtol": 1e-2, "atol": 1e-2})
    config.eval.update({"num_samples": 40, "batch_size": 16})
    experiment = build(config)
    return experiment, experiment.network.init(jax.random.key(0))


def _one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: device)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)


@pytest.mark.parametrize("method", ["euler_maruyama", pytest.param("ode", marks=pytest.mark.slow)])
def test_samples_do_not_depend_on_the_number_of_devices(method: str, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, variables = tiny
    drawer = Drawer(experiment, variables, method, 16)
    begun = drawer.start(jax.random.key(1), 3)
    assert len(jax.local_devices()) == 8 and {s.data.shape for s in begun.out.x.addressable_shards} == {(2, 2)}
    eight = drawer.fetch(begun)
    _one_device(monkeypatch)
    alone = Drawer(experiment, variables, method, 16)
    one = alone.fetch(alone.start(jax.random.key(1), 3))
    np.testing.assert_allclose(eight.x, one.x, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(eight.evaluations, one.evaluations)


def test_the_next_round_is_dispatched_before_one_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def order() -> str:
        seen = []
        for i, out in one_ahead(lambda i: seen.append(f"+{i}") or 10 * i, range(3)):
            assert out == 10 * i
            seen.append(f"-{i}")
        return "".join(seen)

    assert order() == "+0-0+1-1+2-2", "several CPU devices: one program at a time"
    _one_device(monkeypatch)
    assert order() == "+0+1-0+2-1-2"
    assert list(one_ahead(str, [])) == [] and list(one_ahead(str, [7])) == [(7, "7")]


def test_a_broken_round_stops_what_follows_and_keeps_what_was_written(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds 0 and 1 of three are on disk when the third is not finite; once it is, only it is drawn."""
    _one_device(monkeypatch)
    experiment, variables = tiny
    drawn = []

    class Counted(Drawer):
        broken = True

        def start(self, key, i, told=None):
            drawn.append(i)
            begun = super().start(key, i, told)
            wrong = begun.out._replace(x=begun.out.x * jnp.nan)
            return begun._replace(out=wrong) if self.broken and i == 2 else begun

    monkeypatch.setattr(samples, "drawer_of", Counted)
    arguments = (experiment, variables, "euler_maruyama", jax.random.key(1), tmp_path / "rounds", {})
    with pytest.raises(Failure, match="not finite"):
        draw_rounds(*arguments)
    assert drawn == [0, 1, 2] and sorted(p.name for p in tmp_path.rglob("*.npz")) == [
        "round_00000.npz",
        "round_00001.npz",
    ]
    Counted.broken = False
    rounds = draw_rounds(*arguments)
    assert drawn == [0, 1, 2, 2]
    assert len(rounds.column("samples")) == 40 and (rounds.column("seconds") > 0).all()
    alone = Drawer(experiment, variables, "euler_maruyama", 16)
    np.testing.assert_array_equal(rounds.read(1)["samples"], alone.fetch(alone.start(jax.random.key(1), 1)).x)


def test_weights_are_copied_once_to_the_devices_of_a_batch(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, variables = tiny
    weight = next(iter(Drawer(experiment, variables, "euler_maruyama", 16).variables["params"].values()))
    assert weight.sharding.is_fully_replicated and len(weight.devices()) == 8
    assert on_each(variables, 12) is variables, "eight do not divide it"
    _one_device(monkeypatch)
    assert on_each(variables, 16) is variables


def test_each_device_loops_by_itself() -> None:
    """Halvings until all rows a device holds are small: a device of small rows is done at once."""

    def shrink(limit, x):
        turns, x = jax.lax.while_loop(lambda c: (c[1] > limit).any(), lambda c: (c[0] + 1, c[1] / 2), (0, x))
        return jnp.full(len(x), turns)

    x = 2.0 ** np.arange(16)
    turns = jax.jit(lambda x: each_on_its_own(shrink, 1.0, x))
    np.testing.assert_array_equal(turns(on_devices(x)), np.repeat(np.arange(1, 16, 2), 2))
    np.testing.assert_array_equal(turns(on_devices(x[:12])), np.full(12, 11))  # eight do not divide it
