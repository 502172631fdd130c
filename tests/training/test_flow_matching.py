"""Flow matching: the loss against SiT's, exact couplings against recorded ones, and the times it is trained at."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import main
from configs.vp import toy_mixture8_mlp
from experiment import Refusal
from sde_lib import GVP, VP, Flow, NoiseLevels, Plain
from tests.training.given import draws, losses_at
from training import losses
from training.examples import Examples
from training.losses.flow_matching import assigned
from training.times import Times

FOLDER = Path(__file__).parents[1] / "reference" / "flow"
SIT, CFM = np.load(FOLDER / "sit.npz"), np.load(FOLDER / "torchcfm.npz")
GROUPS = sorted(name.removesuffix("/permutation") for name in CFM.files if name.endswith("/permutation"))


def network(x: jax.Array, label: jax.Array) -> jax.Array:
    """SiT's tiny network at its own time, 1 - t."""
    w1, a, b1, w2, b2 = (jnp.asarray(SIT[f"net/{name}"]) for name in ("W1", "a", "b1", "W2", "b2"))
    hidden = jnp.tanh(x.reshape(len(x), -1) @ w1.T + (1.0 - label)[:, None] * a + b1)
    return (hidden @ w2.T + b2).reshape(x.shape)


@pytest.mark.parametrize("path", ["Linear", "GVP"])
def test_the_loss_is_sits(path: str, x64) -> None:
    """Of a velocity, which points the other way there, and of noise, whose weight "velocity" makes it the same loss."""
    sde, x1 = {"Linear": Flow(), "GVP": GVP()}[path], jnp.asarray(SIT["loss/x1"])
    for prediction, weight, sign in (("velocity", "none", -1.0), ("noise", "velocity", 1.0)):
        t = 1.0 - jnp.asarray(SIT[f"loss/{path}/{prediction}/{weight}_t"])
        named = {"noise": "eps"}.get(prediction, prediction)
        predict = Plain(named, "t").predict_fn(sde, lambda x, label, sign=sign: sign * network(x, label))
        found = losses_at(losses.create("flow_matching", sde), predict, x1, t, jnp.asarray(SIT["loss/x0"]))
        np.testing.assert_allclose(found, SIT[f"loss/{path}/{prediction}/{weight}"], rtol=1e-9)


@pytest.mark.parametrize("group", GROUPS)
def test_the_coupling_is_the_cheapest(group: str, x64) -> None:
    """The recorded permutation pairs row i of the noise with the example perm[i]."""
    noise, data, permutation = (jnp.asarray(CFM[f"{group}/{name}"]) for name in ("x0", "x1", "permutation"))
    found = assigned(data, noise)
    np.testing.assert_array_equal(found[permutation], noise)
    assert float(jnp.mean(jnp.sum((data - found) ** 2, 1))) == pytest.approx(
        float(CFM[f"{group}/cost_value"]), rel=1e-9
    )


@pytest.mark.slow
def test_groups_are_coupled_apart_and_parts_alike() -> None:
    """Within a group the noise is used once each; what a device takes decides nothing."""
    loss = losses.create("flow_matching", Flow(), coupling="optimal_transport", coupling_size=4)
    x0, eps = jax.random.normal(jax.random.key(0), (2, 8, 3))
    whole = loss.coupled(given(x0), eps)
    np.testing.assert_array_equal(whole[:4], loss.coupled(given(x0[:4]), eps[:4]))
    for group in (slice(0, 4), slice(4, 8)):
        np.testing.assert_array_equal(np.sort(whole[group], 0), np.sort(eps[group], 0))
        assert jnp.sum((x0[group] - whole[group]) ** 2) < jnp.sum((x0[group] - eps[group]) ** 2)
    with pytest.raises(ValueError, match="coupling_size is 4, and a device takes 6 examples at once"):
        loss.coupled(given(x0[:6]), eps[:6])
    np.testing.assert_array_equal(losses.create("flow_matching", Flow()).coupled(given(x0), eps), eps)


def test_groups_that_no_device_holds_whole_are_refused_before_a_run_begins(tmp_path: Path) -> None:
    config = toy_mixture8_mlp.get_config()
    config.training.update(loss="flow_matching", coupling="optimal_transport", batch_size=40)
    config.model.prediction = "velocity"
    with pytest.raises(Refusal, match=r"coupling_size is 32, and a device takes 5 examples .* must divide that number"):
        main.prepare("train", config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def given(x0: jax.Array) -> Examples:
    """Examples of these data, whose records hold no noise."""
    return Examples(x0, {}, None)


def test_noise_levels_have_no_velocity() -> None:
    with pytest.raises(ValueError, match=r"one of continuous time .FlowMatching.*; set it to True"):
        losses.create("flow_matching", NoiseLevels(VP(), 100))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_times_are_logit_normal_and_shifted(shift: float) -> None:
    """log(t / (1 - t)) is normal, and the shift by s adds log s to it (Kolmogorov-Smirnov, 4000 draws)."""
    times = Times("logit_normal", logit_mean=-0.4, logit_std=1.5, time_shift=shift)
    t = np.asarray(times(Flow(), draws(jax.random.key(1), 4000)), np.float64)
    law = scipy.stats.norm(-0.4 + np.log(shift), 1.5)
    assert scipy.stats.kstest(np.log(t / (1 - t)), law.cdf).pvalue > 1e-3


@pytest.mark.slow
def test_no_time_is_below_the_smallest() -> None:
    t = Times("logit_normal", logit_mean=-9.0, logit_std=3.0, time_shift=0.1)(
        Flow(t_min=1e-3), draws(jax.random.key(2), 500)
    )
    assert float(t.min()) == pytest.approx(1e-3, rel=1e-6) and float(t.max()) <= 1.0
