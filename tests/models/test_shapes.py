"""Networks of signals, clips and point sets: what each must not see, and in which order it must not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from models.attention import attend
from models.convolution import convolve_line
from models.functional import Network
from models.rotary import angles_of, rotated
from tests.models.published_weights import compiled
from tests.models.test_networks import variables_away_from_zero

SIGNALS = {"shape": (16, 2), "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "head_channels": 8, "wrap": True}
CLIPS = {"shape": (4, 8, 8, 1), "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "head_channels": 4}
POINTS = {"shape": (6, 2), "width": 16, "depth": 2, "num_heads": 2, "time_features": 16}
NOISE = jnp.asarray([3.0, 600.0])


def answered(name: str, options: dict):
    """The network with random weights as a function of x and a condition, and some x."""
    network = Network.create(name, **options)
    variables = variables_away_from_zero(network)
    apply = compiled(lambda x, condition: network.apply(variables, x, NOISE, condition))
    x = np.random.default_rng(1).standard_normal((2, *options["shape"])).astype("f4")
    return lambda x, condition=None: np.asarray(apply(jnp.asarray(x), condition)), x


def close(found, wanted) -> bool:
    return bool(np.abs(found - wanted).max() < 2e-4 * np.abs(wanted).max())


@pytest.mark.slow
def test_a_signal_without_ends_has_no_place():
    """Turned around by what the coarsest level stands for, the output turns around; by less it does not."""
    run, x = answered("unet_1d", SIGNALS)
    whole = run(x)
    assert whole.shape == x.shape
    assert close(run(np.roll(x, 6, axis=1)), np.roll(whole, 6, axis=1))
    assert not close(run(np.roll(x, 1, axis=1)), np.roll(whole, 1, axis=1))


def test_a_convolution_of_signals_is_scipys():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 7, 3)).astype("f4"), rng.standard_normal((3, 3, 4)).astype("f4")
    found = np.asarray(convolve_line(jnp.asarray(x), jnp.asarray(kernel)))
    for i in range(2):
        for d in range(4):
            each = [scipy.signal.correlate(x[i, :, c], kernel[:, c, d], "same") for c in range(3)]
            np.testing.assert_allclose(found[i, :, d], np.sum(each, axis=0), atol=1e-5)


@pytest.mark.slow
def test_frames_meet_in_time_alone_and_by_their_distance(monkeypatch):
    """A frame that differs changes every other at its own places; alike frames have alike outputs wherever they are."""
    run, x = answered("unet_3d", CLIPS)
    changed = x.copy()
    changed[0, 0] += 1.0
    difference = np.abs(run(changed) - run(x))
    assert difference[0].reshape(4, -1).max(axis=1).min() > 1e-3 and not difference[1].any()
    still = np.repeat(x[:, :1], 4, axis=1)
    assert close(run(still), np.repeat(run(still)[:, :1], 4, axis=1))
    query, key = np.random.default_rng(0).standard_normal((2, 1, 5, 1, 6)).astype("f4")
    same = [jnp.broadcast_to(jnp.asarray(each[:, :1]), (1, 5, 1, 6)) for each in (query, key)]
    logits = np.einsum("bnhw,bmhw->nm", *(np.asarray(rotated(each, angles_of(5, 6))) for each in same))
    for distance in (0, 1, 3):
        np.testing.assert_allclose(np.diag(logits, distance), logits[0, distance], rtol=1e-4, atol=1e-5)
    assert abs(logits[0, 0] - logits[0, 1]) > 1e-3
    whole = run(x)
    for angles, alike in ((lambda n, w: angles_of(n + 3, w)[3:], True), (lambda n, w: 2.0 * angles_of(n, w), False)):
        monkeypatch.setattr(
            "models.unet_3d.angles_of", angles
        )  # of a clip that begins later, and of one that is slower
        assert close(answered("unet_3d", CLIPS)[0](x), whole) == alike


@pytest.mark.slow
def test_each_frame_drops_features_of_its_own():
    """All frames of a clip that stands still are alike, and by dropout no two are."""
    network = Network.create("unet_3d", **CLIPS, dropout=0.5)
    variables, keys = variables_away_from_zero(network), jax.random.split(jax.random.key(0), 2)
    still = jnp.ones((2, *CLIPS["shape"]), jnp.float32)
    out = np.asarray(compiled(lambda x: network.apply(variables, x, NOISE, keys=keys))(still))
    for t in range(1, 4):
        assert not close(out[:, t], out[:, 0])


def test_points_have_no_order_and_absent_ones_no_say():
    run, x = answered("point_transformer", POINTS)
    whole, order = run(x), np.asarray([3, 0, 5, 1, 4, 2])
    assert close(run(x[:, order]), whole[:, order]) and not close(whole[:, order], whole)
    present = np.asarray([[1, 1, 0, 1, 0, 1], [1] * 6], np.float32)
    others = np.where(present[..., None] > 0, x, np.nan).astype("f4")
    told = {"present": jnp.asarray(present)}
    np.testing.assert_array_equal(run(x, told), run(others, told))
    assert not run(x, told)[0, [2, 4]].any()
    assert close(run(x, told)[1], whole[1]) and not close(run(x, told)[0], whole[0])


def test_fewer_points_are_a_smaller_set():
    """What is left of a set answers as the set of just these points."""
    run, x = answered("point_transformer", POINTS)
    alone, _ = answered("point_transformer", POINTS | {"shape": (4, 2)})
    present = jnp.asarray([[1.0, 1, 1, 1, 0, 0]] * 2)
    assert close(run(x, {"present": present})[:, :4], alone(x[:, :4]))


def test_attention_in_pieces_heeds_what_is_seen(monkeypatch):
    query, key, value = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 8, 2, 4)), jnp.float32)
    seen = jnp.asarray(np.random.default_rng(1).random((2, 8)) < 0.5)
    whole = attend(query, key, value, seen)
    monkeypatch.setattr("models.attention.AT_ONCE", 16)
    np.testing.assert_allclose(attend(query, key, value, seen), whole, atol=1e-6)
    np.testing.assert_allclose(whole[1], attend(query[1:], key[1:, seen[1]], value[1:, seen[1]])[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("unet_1d", SIGNALS), ("unet_3d", CLIPS), ("point_transformer", POINTS)])
def test_every_parameter_counts_and_classes_are_heard(name, options):
    network = Network.create(name, **options, label_dim=3, dropout=0.1)
    variables = variables_away_from_zero(network)
    x = jnp.asarray(np.random.default_rng(1).standard_normal((2, *options["shape"])), jnp.float32)
    told, keys = {"label": jnp.eye(3)[:2]}, jax.random.split(jax.random.key(0), 2)

    def loss(params):
        return jnp.sum(jnp.square(network.apply(variables | {"params": params}, x, NOISE, told, keys=keys)))

    for parameter, gradient in compiled(jax.grad(loss))(variables["params"]).items():
        assert np.isfinite(gradient).all() and np.any(np.abs(gradient) > 1e-6), parameter


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet_1d", {"shape": (18, 1)}, "a length of 18 cannot be halved 3 times, as ch_mult"),
        ("unet_1d", {"shape": (16, 16, 1)}, r"shape=\(16, 16, 1\): .* \(length, channels\)"),
        ("unet_3d", {"shape": (4, 6, 8, 1)}, r"image_size=\(6, 8\) cannot be halved 2 times"),
        ("unet_3d", CLIPS | {"centered": False}, "data.centered=True"),
        ("unet_3d", CLIPS | {"head_channels": 1}, "choose an even width"),
        ("point_transformer", {"shape": (64,)}, r"shape=\(64,\): .* \(points, coordinates\)"),
        ("point_transformer", POINTS | {"num_heads": 3}, "num_heads=3"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        Network.create(name, **options)
    assert "\n" not in str(error.value)
