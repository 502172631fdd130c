"""Power functions as averages: EDM2's recorded values in float64, and what float32 must not lose."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiment import power_averages
from experiment.power_averages import PowerAverages, coefficients, correlation, exponent, share

FOLDER = Path(__file__).parents[1] / "reference" / "edm2"
RECORDED = np.load(FOLDER / "phema.npz")
SETTINGS = json.loads((FOLDER / "phema.json").read_text())
POSTHOC = list(enumerate(SETTINGS["posthoc"]))


def test_widths_and_exponents() -> None:
    found = [exponent(std) for std in RECORDED["std"]]
    np.testing.assert_allclose(found, RECORDED["exponent"], rtol=1e-9)


@pytest.mark.parametrize("std", [0.0, -0.05, 12**-0.5, 0.3, float("nan")])
def test_widths_that_no_power_function_has(std: float) -> None:
    with pytest.raises(ValueError, match=r"std is .*; it must be a number above 0 and below 0\.288675") as error:
        exponent(std)
    assert "\n" not in str(error.value)


def test_shares_of_new_weights() -> None:
    with jax.enable_x64(True):
        for name in ("std0.05", "std0.1", "std0.2"):
            found = share(exponent(float(name.removeprefix("std"))), jnp.asarray(RECORDED["beta/t_next"]))
            np.testing.assert_allclose(1.0 - found, RECORDED[f"beta/{name}"], rtol=1e-9, atol=1e-15)


def test_float32_has_the_share_of_a_late_update() -> None:
    """The binomial series of 1 - (1 - 1 / n)^p, to its third term; float32's own 1 - 1 / n is 6 % off at 10^6."""
    power = exponent(0.05) + 1.0
    for n in (10**5, 10**6, 10**7):
        series = power / n * (1 - (power - 1) / (2 * n) * (1 - (power - 2) / (3 * n)))
        assert float(share(power - 1.0, jnp.asarray(n, jnp.int32))) == pytest.approx(series, rel=1e-6)


def test_the_averages_of_a_recorded_run() -> None:
    """The first update copies the network, whatever the weights at the beginning were, and wherever that was."""
    with jax.enable_x64(True):
        params, expected = RECORDED["track/params"], RECORDED["track/ema"]
        averages = PowerAverages.create({"w": jnp.asarray(params[0])}, (0.05, 0.1), 1000)
        for step, weights in enumerate(params[1:], 1):
            averages = averages.updated({"w": jnp.asarray(weights)}, jnp.asarray(1000 + step, jnp.int32))
            found = [averages.weights[std]["w"] for std in ("0.05", "0.1")]
            np.testing.assert_allclose(found, expected[step - 1], rtol=1e-9, atol=1e-12)
            if step == 1:
                np.testing.assert_allclose(found, [weights, weights], rtol=1e-15)


@pytest.mark.parametrize(("case", "given"), POSTHOC)
def test_coefficients(case: int, given: dict) -> None:
    times, stds = np.array(given["in_ofs"]), np.array(given["in_std"])
    exponents = np.array([exponent(std) for std in stds])
    found = correlation(times[:, None], exponents[:, None], times, exponents)
    np.testing.assert_allclose(found, RECORDED[f"posthoc/{case}/correlation"], rtol=1e-9)
    for column, std in zip(RECORDED[f"posthoc/{case}/coefficients"].T, np.atleast_1d(given["out_std"]), strict=True):
        found, missed = coefficients(times, stds, given["out_ofs"], std)
        np.testing.assert_allclose(found, column, rtol=1e-9, atol=1e-12)
        assert missed == pytest.approx(_missed(times, exponents, found, given["out_ofs"], std), abs=2e-3)


def _missed(times: np.ndarray, exponents: np.ndarray, factors: np.ndarray, time: float, std: float) -> float:
    """The relative root mean square distance of the densities, by the midpoint rule, at its best scale."""
    t = (np.arange(40_000) + 0.5) / 40_000 * time

    def density(end: float, power: float) -> np.ndarray:
        return np.where(t < end, (power + 1) / end * (np.minimum(t / end, 1.0)) ** power, 0.0)

    wanted = density(time, exponent(std))
    made = sum(factor * density(*each) for factor, *each in zip(factors, times, exponents, strict=True))
    scale = (made @ wanted) / (made @ made)
    return float(np.linalg.norm(scale * made - wanted) / np.linalg.norm(wanted))


def test_a_recorded_reconstruction() -> None:
    steps = np.array([5.0, 10.0, 15.0, 20.0] * 2)
    stds = np.repeat([0.05, 0.1], 4)
    stored = np.concatenate([RECORDED["track/ema"][steps[:4].astype(int) - 1, i] for i in (0, 1)])
    for i, std in enumerate((0.05, 0.08, 0.15)):
        found, _ = coefficients(steps, stds, 20.0, std)
        np.testing.assert_allclose(found, RECORDED["reconstruct/coefficients"][:, i], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found @ stored, RECORDED["reconstruct/result"][i], rtol=1e-9)


def test_more_snapshots_reach_more_widths() -> None:
    """A width that is stored at the wanted time is exact; late snapshots of a long run count like early ones."""
    missed = {}
    for count in (4, 16, 64):
        times, stds = np.repeat(np.arange(1.0, count + 1), 2) * 1e6 / count, np.tile([0.05, 0.1], count)
        found, exact = coefficients(times, stds, 1e6, 0.1)
        assert exact < 1e-7 and found[-1] == pytest.approx(1.0) and np.abs(found[:-1]).max() < 1e-9
        missed[count] = [coefficients(times, stds, 1e6, std)[1] for std in (0.02, 0.07, 0.2)]
    assert (np.array(missed[4]) > 2 * np.array(missed[16])).all()
    assert (np.array(missed[16]) > 2 * np.array(missed[64])).all() and max(missed[64]) < 0.02


def test_the_name_of_a_width_is_the_width() -> None:
    for std in (0.05, 0.1, 1 / 3 / 4, 1e-3):
        assert float(power_averages.text(std)) == std
