"""A measure is a line in the table: it is asked for by its name, kept in rounds, and reported."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.vp import digits, digits_classifier
from data import Arrays
from evaluation import measures, report
from evaluation.measures import MEASURES, Measure
from evaluation.run import check
from experiment import Experiment, build
from experiment.errors import Failure
from experiment.sampling import key_of
from limits import positive


class Brightness(Measure):
    """The mean level of an example, to a power, and a number drawn from the example's key."""

    name, folder, what = "brightness", "brightness", "brightness"
    computed = 0

    def __init__(self, experiment: Experiment, power: Annotated[float, positive()] = 1.0):
        super().__init__(experiment)
        self.power = power

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        jax.debug.callback(self._count)
        mean = jnp.mean(batch["image"].astype(jnp.float32), axis=(1, 2, 3))
        return {
            "mean": mean**self.power + variables["offset"],
            "drawn": jax.vmap(jax.random.uniform)(keys),
        }

    def numbers(self, columns: dict[str, np.ndarray], variables: dict) -> dict[str, Any]:
        return {"mean": float(columns["mean"].mean()), "drawn": columns["drawn"][0].tolist(), "examples": self.count}

    @classmethod
    def _count(cls) -> None:
        cls.computed += 1


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setitem(MEASURES, "brightness", Brightness)
    Brightness.computed = 0
    config = digits.get_config()
    config.model.update(nf=4, ch_mult=(1,), attn_resolutions=(), num_res_blocks=1)
    config.eval.update(enable_bpd=False, enable_sampling=False, measures=("brightness",), batch_size=100)
    return build(config)


def _measure(experiment: Experiment, folder: Path, offset: float = 0.0, **options: Any) -> dict[str, Any]:
    experiment.config.eval.measure_options = {"brightness": options} if options else {}
    (measure,) = measures.create(experiment)
    found = measure.report({"offset": jnp.asarray(offset)}, key_of(0, "brightness"), folder, {"offset": offset})
    jax.effects_barrier()
    assert found is not None
    return found


def test_it_is_asked_for_by_name_and_reported(experiment: Experiment, tmp_path: Path) -> None:
    check(experiment, likelihood=True)
    assert measures.chosen(experiment) == {"brightness": Brightness}
    found, images = _measure(experiment, tmp_path), experiment.source.test.arrays["image"]
    assert found["mean"] == pytest.approx(images.mean(), rel=1e-6) and found["examples"] == len(images) == 297
    assert len(set(found["drawn"])) == 297, "each example has a key of its own"
    about = {"checkpoint": {"step": 1, "ema": False}, "seed": 0, "seeds": 1, "sde": {}, "dataset": "digits"}
    text = report.markdown({**about, "brightness": found, "environment": report.environment(), "levels": 17})
    assert "## Brightness" in text and f"- mean: {found['mean']}" in text


def test_its_rounds_are_those_of_weights_data_settings_and_no_batch(experiment: Experiment, tmp_path: Path) -> None:
    """297 examples in three rounds; each ingredient is changed once."""
    first = _measure(experiment, tmp_path)
    assert Brightness.computed == 3 and _measure(experiment, tmp_path) == first and Brightness.computed == 3
    about = json.loads((tmp_path / "brightness" / "about.json").read_text())
    assert about["power"] == 1.0 and about["offset"] == 0.0 and about["data"]["split"] == "test"
    assert _measure(experiment, tmp_path, offset=1.0)["mean"] == pytest.approx(first["mean"] + 1.0, rel=1e-6)
    assert _measure(experiment, tmp_path, power=2.0)["mean"] > 2 * first["mean"] and Brightness.computed == 9
    image = experiment.source.test.arrays["image"].copy()
    image[0, 0, 0, 0] ^= 1
    source = dataclasses.replace(experiment.source, test=Arrays({"image": image}))
    changed = dataclasses.replace(experiment, source=source)
    assert _measure(changed, tmp_path)["mean"] != first["mean"] and Brightness.computed == 12
    experiment.config.eval.batch_size = 64
    assert _measure(experiment, tmp_path)["drawn"] == first["drawn"], "whatever batch an example is in"


def test_numbers_that_are_not_finite_are_a_failure(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="brightness: mean not finite among examples 0 to 99; take another checkpoint"):
        _measure(experiment, tmp_path, offset=np.nan)
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize(
    ("config", "asked", "says"),
    [
        (digits, ("brigthness",), "eval.measures has 'brigthness'; known are bits, bound, chain_bound, accuracy"),
        (digits, ("bits", "chain_bond"), "has 'chain_bond' (did you mean 'chain_bound'?); known are bits"),
        (
            digits,
            ("chain_bound",),
            "(ChainBound) is of a network of kind chain, and model.name 'ncsnpp' is of kind cont",
        ),
        (digits, ("accuracy",), "(Accuracy) is of a network of kind classifier, and model.name"),
        (digits_classifier, ("bits",), "continuous or chain, and model.name 'noisy_classifier' is of kind classifier"),
    ],
)
def test_what_cannot_be_measured_is_refused(config: Any, asked: tuple[str, ...], says: str) -> None:
    chosen = config.get_config()
    chosen.eval.update(enable_sampling=False, measures=asked)
    with pytest.raises(ValueError) as error:
        check(build(chosen), likelihood=True)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_measure_asked_for_twice_is_taken_once() -> None:
    config = digits.get_config()
    config.eval.measures = ("bits",)
    experiment = build(config)
    assert list(measures.chosen(experiment)) == ["bits"]
    assert len(measures.create(experiment)) == 1, "the experiment, a dataclass, is no option of its constructor"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"brightness": {"pwoer": 2.0}},
            "eval.measure_options has 'pwoer' of 'brightness' (did you mean 'power'?); known are power",
        ),
        ({"brightness": {"power": 0.0}}, "eval.measure_options of brightness: power is 0.0; it must be a number above"),
        ({"brightness": 2.0}, "eval.measure_options has 2.0 of 'brightness'; known are power"),
        ({"brightness": [["power"]]}, "eval.measure_options has [['power']] of 'brightness'; known are power"),
        ({"brigthness": {}}, "unknown measure in eval.measure_options 'brigthness' (did you mean 'brightness'?)"),
        ({"bits": {}}, "eval.measure_options has 'bits', and measured are brightness; add it to eval.measures"),
    ],
)
def test_an_option_is_one_of_the_constructors(options: dict, says: str, experiment: Experiment) -> None:
    experiment.config.eval.measure_options = options
    with pytest.raises(ValueError) as error:
        check(experiment, likelihood=True)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_measure_without_its_numbers_cannot_be_made(experiment: Experiment) -> None:
    unfinished = type("Unfinished", (Measure,), {"compute": Brightness.compute})
    with pytest.raises(TypeError, match=r"abstract method '?numbers"):
        unfinished(experiment)
