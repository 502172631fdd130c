"""Networks of categories: the logistic output, rotary positions, what each network reads, and what it is told."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import CATEGORICAL, logistic
from models.functional import Network
from models.neighbours import Neighbours
from models.rotary import angles_of, rotated
from tests.models.published_weights import compiled
from tests.models.test_networks import variables_away_from_zero

REFERENCE = Path(__file__).parents[1] / "reference" / "d3pm" / "logistic.npz"
OPTIONS = {
    "sequence_transformer": {"shape": (6,), "width": 8, "depth": 2, "num_heads": 2, "time_features": 4},
    "categorical_unet": {"image_size": 4, "num_channels": 1, "nf": 4, "ch_mult": (1,), "attn_resolutions": ()}
    | {"num_res_blocks": 1},
}
SHAPES = {"sequence_transformer": (6,), "categorical_unet": (4, 4, 1)}
K = 5


def network(name: str, **options) -> Network:
    return Network.create(name, **{"num_categories": K} | OPTIONS[name] | options)


def drawn(name: str, count: int, categories: int) -> jax.Array:
    return jax.random.randint(jax.random.key(0), (count, *SHAPES[name]), 0, categories)


def test_the_published_logistic_output():
    """With the published 1e-6 to the precision of float64, at settings where probabilities below it are lost."""
    reference = np.load(REFERENCE)
    with jax.enable_x64(True):
        mean, log_scale = jnp.asarray(reference["loc"]), jnp.asarray(reference["log_scale"])
        found = logistic.logits(mean, log_scale, 16, epsilon=1e-6)
    np.testing.assert_allclose(found, reference["logits"], rtol=1e-9, atol=1e-9)


def test_the_logistic_output_is_exact_far_from_the_mean():
    """There the logistic distribution is exponential: e^(-s w) from a bin to the next, in float32 as well."""
    k, inverse = 16, np.exp(2.0 + 1.5)
    logits = logistic.logits(jnp.array([-1.0, 1.0]), jnp.full(2, -1.5), k)
    steps = np.diff(logits, axis=-1)
    np.testing.assert_allclose(steps[0, 3:], -inverse * 2 / (k - 1), rtol=1e-4)
    np.testing.assert_allclose(steps[1, :-3], inverse * 2 / (k - 1), rtol=1e-4)
    wide = jax.nn.softmax(logistic.logits(jnp.zeros(()), jnp.array(9.0), 4))  # flat over bins of equal width
    np.testing.assert_allclose(wide, 0.25, atol=1e-3)


def test_a_pair_of_features_is_turned_by_its_place():
    at_one = rotated(jnp.eye(2)[None, :, None], angles_of(2, 2))[0, 1, 0]
    np.testing.assert_allclose(at_one, [-np.sin(1), np.cos(1)], rtol=1e-6)


def test_neighbours_are_seen_by_a_convolution_of_each_feature():
    """NumPy's convolution turns its kernel around, and these are taps of correlation; a new one changes nothing."""
    rng, near = np.random.default_rng(0), Neighbours(5, 3)
    z = rng.normal(size=(2, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(near(jnp.asarray(z)), z)
    near.taps[...] = jnp.asarray(taps := rng.normal(size=(5, 3)).astype(np.float32))
    expected = [[np.convolve(one[:, j], taps[::-1, j], "same") for j in range(3)] for one in z]
    np.testing.assert_allclose(near(jnp.asarray(z)) - z, np.transpose(expected, (0, 2, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("categorical_unet", marks=pytest.mark.slow), "sequence_transformer"])
def test_a_new_network_says_what_its_head_begins_at(name):
    made = network(name, masked=True)
    x, variables = drawn(name, 2, K + 1), made.init(jax.random.key(1))
    logits = compiled(made.apply)(variables, x, jnp.array([0.0, 999.0]))
    assert (logits.shape, logits.dtype) == ((*x.shape, K), jnp.float32)
    begins = np.eye(K + 1)[x][..., :K] if name == "categorical_unet" else 0.0
    np.testing.assert_allclose(logits, np.broadcast_to(begins, logits.shape), atol=1e-3)


@pytest.mark.parametrize("name", CATEGORICAL)
@pytest.mark.slow
def test_every_place_and_number_of_a_network_counts(name):
    """Every place sees every other, and the mask; noise and class are told, and each parameter has a gradient."""
    made = network(name, masked=True, label_dim=3, **({"taps": 3} if name == "sequence_transformer" else {}))
    variables = variables_away_from_zero(made)
    x, c_noise = drawn(name, 2, K), jnp.array([10.0, 700.0])
    label = {"label": jnp.eye(3)[jnp.array([0, 2])]}
    apply = compiled(made.apply)
    logits = apply(variables, x, c_noise, label)
    flat = x.reshape(2, -1)
    for place in range(flat.shape[1]):
        for other in ((flat[:, place] + 1) % K, jnp.full(2, K)):
            moved = apply(variables, flat.at[:, place].set(other).reshape(x.shape), c_noise, label)
            assert np.abs(moved - logits).reshape(2, flat.shape[1], K).max(-1).min() > 1e-6, place
    for told in ((c_noise + 100, label), (c_noise, {"label": label["label"][::-1]}), (c_noise, None)):
        assert np.abs(apply(variables, x, *told) - logits).reshape(2, -1).max(-1).min() > 1e-4

    def loss(params):
        return jnp.sum(jnp.square(made.apply(variables | {"params": params}, jnp.where(x == 0, K, x), c_noise, label)))

    for entry, gradient in compiled(jax.grad(loss))(variables["params"]).items():
        assert np.any(gradient != 0) or entry.endswith("key.bias"), entry


@pytest.mark.slow
@pytest.mark.parametrize("name", CATEGORICAL)
def test_dropout_depends_on_an_examples_own_key_and_untold_networks_on_no_noise(name):
    made = network(name, dropout=0.5, told_noise=False)
    variables, x = variables_away_from_zero(made), drawn(name, 2, K)
    apply, keys = compiled(made.apply), jax.random.split(jax.random.key(3), 2)
    whole = apply(variables, x, jnp.zeros(2), keys=keys)
    for i in range(2):
        alone = apply(variables, x[i : i + 1], jnp.full(1, 500.0), keys=keys[i : i + 1])
        np.testing.assert_allclose(whole[i], alone[0], rtol=1e-4, atol=1e-4)
    assert np.abs(whole - apply(variables, x, jnp.zeros(2))).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sequence_transformer", {"num_categories": 0}, "num_categories is 0; .*at least 1 .*without the mask"),
        ("sequence_transformer", {"num_heads": 3}, "width=8 cannot be shared by num_heads=3 heads of equal width"),
        ("sequence_transformer", {"taps": 4}, "taps=4 have no middle place; choose an odd number"),
        ("sequence_transformer", {"num_heads": 8}, "a head of 1 features cannot turn them in pairs"),
        ("categorical_unet", {"head": "softmax"}, "unknown head 'softmax'; known: logistic, logits"),
        ("categorical_unet", {"head": "logistic", "ordered": False}, "head='logistic' is of ordered categories"),
        ("categorical_unet", {"head_channels": 3}, "4 channels cannot attend in heads of head_channels=3"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        network(name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("masked", [False, True])
def test_the_u_net_sees_centres_and_the_mask(masked):
    x = jnp.arange(K + masked).reshape(1, K + masked, 1, 1)
    options = OPTIONS["categorical_unet"] | {"num_categories": K, "masked": masked}
    ordered, apart = (Network.create("categorical_unet", **options, ordered=order) for order in (True, False))
    seen = [each.module(variables_away_from_zero(each)).seen(x)[0, :, 0] for each in (ordered, apart)]
    centres = [[-1.0], [-0.5], [0.0], [0.5], [1.0]]
    expected = [[*centre, 0.0] for centre in centres] + [[0.0, 1.0]] if masked else centres
    np.testing.assert_allclose(seen[0], expected)
    np.testing.assert_array_equal(seen[1], np.eye(K + masked))
