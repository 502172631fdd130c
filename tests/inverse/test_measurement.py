"""Every measurement: its adjoint, its A^+, what it imposes, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
from inverse.solve import conjugate_gradients
from tests.oracles import compiled

RNG = np.random.default_rng(0)
SHAPE = (4, 6, 3)
X = RNG.normal(size=(2, *SHAPE))
SINGLE = jnp.asarray(X, jnp.float32)
KNOWN = RNG.random(SHAPE[:2]) < 0.4
DEPENDENT = RNG.normal(size=(5, 72)) * np.array([[1.0], [2.0], [3.0], [1.0], [1.0]])
DEPENDENT[4] = DEPENDENT[0] - DEPENDENT[1]


def gradients(x):
    """A user's own: differences along the width, summed over channels."""
    return jnp.sum(x[:, :, 1:] - x[:, :, :-1], axis=-1)


MEASUREMENTS = {
    "mask": inverse.mask(KNOWN),
    "mask of channels": inverse.mask(RNG.random(SHAPE) < 0.5),
    "mask of each image": inverse.mask(np.random.default_rng(1).random((2, *SHAPE[:2], 1)) < 0.5),
    "grey": inverse.grey(),
    "downsample": inverse.downsample(2),
    "blur": inverse.blur(1.5),
    "matrix": inverse.matrix(DEPENDENT, SHAPE),
    "linear": inverse.linear(gradients, SHAPE),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_adjoint_and_pseudoinverse(name: str, x64) -> None:
    """<A x, y> = <x, A^T y>; A A^+ A = A; A^+ A symmetric; the imposed x is the nearest; (c A A^T + n) solve = 1."""
    a = MEASUREMENTS[name]

    @compiled
    def found(x, other, v):
        v = a.apply(a.adjoint(v))  # in the range of A
        back = a.pinv(a.apply(x))
        imposed = a.impose(other, a.apply(x))
        c, n = jnp.array([0.7, 2.0]), jnp.array([0.0, 0.3])
        solved = a.solve(v, c, n)
        shaped = lambda k: k.reshape(-1, *[1] * (v.ndim - 1))  # noqa: E731
        return {
            "adjoint": (jnp.sum(a.apply(x) * v), jnp.sum(x * a.adjoint(v))),
            "inverse": (a.apply(back), a.apply(x)),
            "symmetric": (jnp.sum(back * other), jnp.sum(x * a.pinv(a.apply(other)))),
            "imposed": (a.apply(imposed), a.apply(x)),
            "nearest": (a.pinv(a.apply(imposed - other)), imposed - other),
            "solve": (shaped(c) * a.apply(a.adjoint(solved)) + shaped(n) * solved, v),
        }

    v = RNG.normal(size=jax.eval_shape(a.apply, X).shape)
    for what, (left, right) in found(X, RNG.normal(size=X.shape), v).items():
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5, err_msg=what)


def test_what_they_measure(x64) -> None:
    """Against NumPy."""
    x = jnp.asarray(X)
    np.testing.assert_array_equal(MEASUREMENTS["mask"].apply(x), np.where(KNOWN[..., None], X, 0.0))
    luma = 0.299 * X[..., 0] + 0.587 * X[..., 1] + 0.114 * X[..., 2]
    np.testing.assert_allclose(MEASUREMENTS["grey"].apply(x)[..., 0], luma, rtol=1e-12)
    boxes = [[X[:, i : i + 2, j : j + 2].mean((1, 2)) for j in (0, 2, 4)] for i in (0, 2)]
    np.testing.assert_allclose(MEASUREMENTS["downsample"].apply(x), np.moveaxis(boxes, 2, 0), rtol=1e-12)
    np.testing.assert_allclose(MEASUREMENTS["matrix"].apply(x), X.reshape(2, -1) @ DEPENDENT.T, rtol=1e-12)


def test_a_blur_is_a_gaussian_of_its_deviation(x64) -> None:
    """One bright pixel far from the edges: it keeps its sum, and spreads to the variance std^2 along either axis."""
    spot = np.zeros((1, 32, 32, 1))
    spot[0, 16, 16] = 1.0
    spread = np.asarray(inverse.blur(2.0).apply(jnp.asarray(spot)))[0, :, :, 0]
    assert spread.sum() == pytest.approx(1.0, rel=1e-9)
    offsets = np.arange(32) - 16.0
    for axis in (0, 1):
        assert spread.sum(axis) @ offsets**2 == pytest.approx(4.0, rel=0.02)  # 1 % of the waves' height is cut off
    dense = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / 4.0) / (8.0 * np.pi)
    np.testing.assert_allclose(spread, dense, atol=5e-4)


def test_a_mask_imposes_bit_for_bit_and_never_looks_elsewhere() -> None:
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(RNG.normal(size=X.shape), jnp.float32)
    hidden = jnp.where(KNOWN[..., None], y, jnp.nan)
    a = MEASUREMENTS["mask"]
    np.testing.assert_array_equal(a.impose(x, hidden), np.where(KNOWN[..., None], y, x))
    assert np.all(np.isfinite(a.residual(x, hidden))) and np.all(np.isfinite(a.pinv(hidden)))


def test_arrays_are_arguments_of_what_is_compiled() -> None:
    """Another mask or matrix of the same shape is the same program; another noise is another."""
    traces = []

    @jax.jit
    def measure(a, x):
        traces.append(1)
        return a.apply(x)

    x = jnp.asarray(X, jnp.float32)
    for known in (KNOWN, ~KNOWN):
        np.testing.assert_array_equal(measure(inverse.mask(known), x), np.where(known[..., None], x, 0.0))
    for rows in (DEPENDENT, -DEPENDENT):
        measure(inverse.matrix(rows, SHAPE), x)
    assert len(traces) == 2
    measure(inverse.mask(KNOWN, noise=0.1), x)
    assert len(traces) == 3


def test_conjugate_gradients_solve_each_example_on_its_own(x64) -> None:
    """d steps are exact; a neighbour of another size, or of zeros, changes nothing; a negative operator stops it."""
    roots = RNG.normal(size=(3, 4, 4))
    matrices = jnp.asarray(roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(4))
    b = jnp.asarray(RNG.normal(size=(3, 4)))

    @compiled
    def solved(b, sign=1.0):
        return conjugate_gradients(lambda v: sign * jnp.einsum("bij,bj->bi", matrices, v), b, iterations=4)

    np.testing.assert_allclose(solved(b), np.linalg.solve(matrices, b[..., None])[..., 0], rtol=1e-8)
    others = b * jnp.array([[1.0], [1e6], [0.0]])
    np.testing.assert_array_equal(solved(others)[0], solved(b)[0])
    np.testing.assert_array_equal(solved(others)[2], np.zeros(4))
    np.testing.assert_array_equal(solved(b, -1.0), np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inverse.mask(np.ones((2, 2))), r"mask: its type is .*give booleans"),
        (lambda: inverse.mask(np.ones((2, 2), bool), noise=-1.0), r"noise is -1.0"),
        (lambda: inverse.grey((0.0, 0.0)), r"coefficients are \(0\.0, 0\.0\)"),
        (lambda: inverse.downsample(1), r"factor is 1; it must be a whole number of at least 2"),
        (lambda: inverse.blur(0.0), r"std is 0\.0.*above 0"),
        (lambda: inverse.matrix(np.ones((2, 5)), SHAPE), r"shape \(2, 5\); needed is \[m, 72\]"),
        (lambda: inverse.linear(lambda x: x**2, SHAPE), r"not linear: JAX cannot transpose"),
        (lambda: inverse.linear(lambda x: x + 1.0, SHAPE), r"not linear: of x = 0 it does not make 0"),
        (lambda: inverse.linear(lambda x: x[:, :, 9:] @ x, SHAPE), r"does not take x of shape \(1, 4, 6, 3\)"),
        (lambda: inverse.linear(jnp.sum, SHAPE), r"makes \(\) of \(1, 4, 6, 3\); needed is \[b"),
        (lambda: MEASUREMENTS["linear"].apply(jnp.zeros((1, 4, 4, 3))), r"the function takes \[b"),
        (lambda: inverse.downsample(4).apply(SINGLE), r"factor 4 does not divide images of 4 x 6"),
        (lambda: inverse.grey((0.5, 0.5)).apply(SINGLE), r"2 channels have a coefficient"),
        (lambda: inverse.blur(1.0).apply(SINGLE[0]), r"needed are images"),
        (lambda: MEASUREMENTS["mask"].apply(SINGLE[:, :3]), r"mask: it has shape \(4, 6\) and x \(2, 3, 6, 3\)"),
        (lambda: MEASUREMENTS["matrix"].apply(SINGLE[:, :3]), r"matrix: x has shape"),
        (
            lambda: MEASUREMENTS["grey"].impose(SINGLE, SINGLE),
            r"y has shape \(2, 4, 6, 3\); that of x .* has \(2, 4, 6, 1\)",
        ),
        (lambda: MEASUREMENTS["mask"].impose(SINGLE, jnp.zeros((3, *SHAPE))), r"y has shape \(3, 4, 6, 3\)"),
    ],
)
def test_errors_are_one_line(make, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
