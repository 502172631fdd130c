"""Kept numbers belong to what they were computed from: every ingredient is changed once, and all is computed anew.

What takes long is replaced by something that writes zeros and notes that it was asked for.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
import samplers
import sde_lib
from autoencoders.grey_levels import GreyLevels
from configs.vp import digits, toy_mixture8_mlp
from data import Arrays, Source
from evaluation import compare, contenders, entries, features, ingredients, quality, run
from evaluation import samples as drawing
from evaluation.measures import MEASURES as TABLE
from evaluation.measures import Measure, accuracy, base, chain_bound
from evaluation.measures.bits import Bits
from experiment import Experiment, build
from experiment.sampling import GUIDE, Drawn
from experiment.workdir import Workdir
from metrics.inception import Features
from models.functional import Network
from samplers import Settings

SHAPE, LEVELS, EXAMPLES = (4, 4, 1), 17, 10
COLUMNS = {  # of each measure, the shapes of an example's numbers
    "bits": {"bits": (), "evaluations": (), "converged": ()},
    "chain_bound": {"prior": (), "terms": (40,), "x0_mse": (40,), "eps_mse": (40,)},
    "bound": {"diffusion": (), "prior": (), "reconstruction": ()},
    "accuracy": {"cross_entropy": (3,), "correct": (3,)},
}
MEASURES = ("bits", "bound of a chain", "bound", "accuracy", "samples")
OF_TEST_SET = MEASURES[:4]


@dataclasses.dataclass
class Case:
    """What an evaluation is made of."""

    experiment: Experiment
    variables: dict[str, Any]
    guide: dict[str, Any] | None = None
    step: int = 3

    def __init__(self, measure: str = "samples", **settings: Any):
        config = ConfigDict(toy_mixture8_mlp.get_config().to_dict())
        config.model.label_dim, config.model.num_scales = 2, 40
        config.training.continuous = measure != "bound of a chain"
        if measure == "accuracy":
            config.model.name = "noisy_classifier"
        config.data.path, config.data.crop = "here", 4
        config.eval.update({"num_samples": 10, "batch_size": 4, "samplers": ("pc",), "accuracy_levels": 3})
        for field, measures in (("enable_bpd", "bits"), ("enable_vlb", "bound"), ("enable_sampling", "samples")):
            config.eval[field] = measure.startswith(measures)
        draw = np.random.default_rng(0)
        train, test = (
            {
                "image": draw.integers(0, LEVELS, (EXAMPLES, *SHAPE)).astype(np.uint8),
                "label": draw.integers(0, 2, EXAMPLES).astype(np.int32),
            }
            for _ in range(2)
        )
        source = Source("levels", Arrays(train), Arrays(test), shape=SHAPE, levels=LEVELS, num_classes=2)
        network = Network.create("mlp", shape=SHAPE, width=4, depth=1)
        codec = GreyLevels(LEVELS, centered=True, dequantization="none", shape=SHAPE)
        self.experiment = Experiment(config, sde_lib.create("vp"), source, codec, network, Settings(**settings))
        self.variables = {
            "params": {"a": np.arange(6.0).reshape(2, 3), "b": np.ones((2, 3))},
            "fixed": {"c": np.zeros(2)},
        }

    def guided(self) -> "Case":
        """The same, guided by another."""
        guide = Case()
        self.guide = {GUIDE + name: dict(values) for name, values in guide.variables.items()}
        self.replace(guide=guide.experiment, settings=Settings(guidance=2.0, guide="there"))
        return self

    def replace(self, **fields: Any) -> None:
        """Change fields of the experiment."""
        self.experiment = dataclasses.replace(self.experiment, **fields)

    def configure(self, section: str, **fields: Any) -> None:
        """Change fields of the config."""
        self.experiment.config[section].update(fields)

    def test_set(self, **arrays: np.ndarray) -> None:
        """Change the examples."""
        source = self.experiment.source
        self.replace(source=dataclasses.replace(source, test=Arrays({**source.test.arrays, **arrays})))

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """What `run.evaluate_checkpoint` reports."""
        found = run.evaluate_checkpoint(
            self.experiment, Workdir(folder), self.step, self.variables, None, None, self.guide
        )
        assert found is not None
        return found


class _Drawer:
    """Black images instead of samples."""

    asked: list[str]

    def __init__(self, experiment: Experiment, variables: dict, method: str, size: int):
        self.size, self.method = size, method

    def start(self, key: jax.Array, i: int) -> int:
        self.asked.append(f"samples of {self.method}")
        return i

    def fetch(self, i: int) -> Drawn:
        return Drawn(np.zeros((self.size, *SHAPE), np.uint8), np.full(self.size, 7), 0.1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was computed, an entry for each round."""
    found: list[str] = []

    def begin(measure: Measure, compute: Any, spread: Any, key: jax.Array, size: int, i: int) -> dict[str, Any]:
        found.append(measure.what)
        shapes = next(COLUMNS[name] for name, kind in TABLE.items() if type(measure) is kind)
        return {
            name: np.zeros((size, *shape), bool if name == "converged" else float) for name, shape in shapes.items()
        }

    monkeypatch.setattr(Measure, "_begin", begin)
    place = {"device": "none", "processes": 1, "versions": {}}
    monkeypatch.setattr(run.reports, "environment", lambda: place)
    monkeypatch.setattr(accuracy, "_draw", lambda *_: None)
    monkeypatch.setattr(chain_bound, "_draw", lambda *_: None)
    monkeypatch.setattr(_Drawer, "asked", found, raising=False)
    monkeypatch.setattr(drawing, "drawer_of", _Drawer)
    return found


def _array(case: Case, name: str) -> np.ndarray:
    return case.experiment.source.test.arrays[name].copy()


def _one_weight(case: Case) -> None:
    case.variables["params"]["a"] = case.variables["params"]["a"] + np.eye(2, 3) * 1e-6


def _exchanged(case: Case) -> None:
    params = case.variables["params"]
    params["a"], params["b"] = params["b"], params["a"]


def _reshaped(case: Case) -> None:
    case.variables["params"]["a"] = case.variables["params"]["a"].reshape(3, 2)


def _one_level(case: Case) -> None:
    image = _array(case, "image")
    image[-1, -1, -1, -1] ^= 1
    case.test_set(image=image)


def _one_label(case: Case) -> None:
    label = _array(case, "label")
    label[0] ^= 1
    case.test_set(label=label)


def _another_order(case: Case) -> None:
    case.test_set(image=_array(case, "image")[::-1])


def _one_more(case: Case) -> None:
    case.test_set(**{name: np.concatenate([_array(case, name)] * 2)[: EXAMPLES + 1] for name in ("image", "label")})


class _Others(GreyLevels):
    """A codec of another kind, with the same options."""


def _codec(case: Case, **fields: Any) -> None:
    case.replace(codec=dataclasses.replace(case.experiment.codec, **fields))


def _guides_weight(case: Case) -> None:
    assert case.guide is not None
    case.guide[GUIDE + "params"]["a"] = np.zeros((2, 3))


def _guides_prediction(case: Case) -> None:
    assert case.experiment.guide is not None
    case.experiment.guide.config.model.prediction = "v"


def _betas(case: Case, last: float) -> None:
    betas = (*np.linspace(1e-3, 0.1, 39), last)
    case.replace(sde=sde_lib.create("discrete", schedule="table", betas=betas))


CHANGES: dict[str, tuple[tuple[str, ...], Callable[[Case], Any]]] = {
    "a weight": (MEASURES, _one_weight),
    "two tensors exchanged": (MEASURES, _exchanged),
    "a tensor's shape": (MEASURES, _reshaped),
    "a fixed value": (MEASURES, lambda c: c.variables["fixed"].update(c=np.ones(2))),
    "raw weights": (MEASURES, lambda c: c.configure("eval", ema=False)),
    "the step": (MEASURES, lambda c: setattr(c, "step", 4)),
    "the prediction": (MEASURES, lambda c: c.configure("model", prediction="v")),
    "the noise label": (MEASURES, lambda c: c.configure("model", noise_label="log_snr")),
    "the preconditioning": (MEASURES, lambda c: c.configure("model", preconditioning="edm")),
    "an option of the network": (MEASURES, lambda c: c.configure("model", width=12)),
    "the number of noise levels": (("samples",), lambda c: c.configure("training", continuous=False)),
    "beta_max": (MEASURES, lambda c: c.replace(sde=sde_lib.create("vp", beta_max=19.0))),
    "the schedule": (MEASURES, lambda c: c.replace(sde=sde_lib.create("vp", schedule="cosine"))),
    "t_min of the process": (MEASURES, lambda c: c.replace(sde=sde_lib.create("vp", t_min=1e-4))),
    "the process": (MEASURES, lambda c: c.replace(sde=sde_lib.create("subvp"))),
    "the range of the model": (MEASURES, lambda c: _codec(c, centered=False)),
    "the codec": (MEASURES, lambda c: c.replace(codec=_Others(**dataclasses.asdict(c.experiment.codec)))),
    "dequantisation": (MEASURES, lambda c: _codec(c, dequantization="uniform")),
    "the grey levels": (MEASURES, lambda c: _codec(c, levels=16)),
    "a pixel": (OF_TEST_SET, _one_level),
    "a label": (OF_TEST_SET, _one_label),
    "the order": (OF_TEST_SET, _another_order),
    "an example more": (OF_TEST_SET, _one_more),
    "the crop": (OF_TEST_SET, lambda c: c.configure("data", crop=3)),
    "the seed": (("bits", "bound of a chain", "bound", "accuracy"), lambda c: c.configure("eval", seed=1)),
    "the batch": (MEASURES, lambda c: c.configure("eval", batch_size=5)),
    "the probe": (("bits",), lambda c: c.configure("eval", bpd_probe="gaussian")),
    "the number of probes": (("bits",), lambda c: c.configure("eval", bpd_probes=2)),
    "rtol of the likelihood": (("bits",), lambda c: c.configure("eval", rtol=1e-3)),
    "atol of the likelihood": (("bits",), lambda c: c.configure("eval", atol=1e-3)),
    "dequantisation of the likelihood": (("bits",), lambda c: c.configure("eval", bpd_dequantization="process")),
    "the variance": (("bound of a chain",), lambda c: c.replace(settings=Settings(variance="large"))),
    "the decoder": (("bound of a chain",), lambda c: c.configure("eval", vlb_decoder="published")),
    "clipping": (("bound of a chain",), lambda c: c.configure("eval", vlb_clip=False)),
    "the number of times": (("bound",), lambda c: c.configure("eval", vlb_times=21)),
    "the classes drawn": (("samples",), lambda c: c.configure("model", label_dim=3)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_ingredient_is_computed_anew(change: str, tmp_path: Path, asked: list[str]) -> None:
    """Computed, kept, computed of the changed; what was there is set aside, whole."""
    measures, apply = CHANGES[change]
    for measure in measures:
        folder, case = tmp_path / measure.replace(" ", "_"), Case(measure)
        case.evaluate(folder)
        rounds = len(asked)
        assert rounds == 3, f"{EXAMPLES} examples in batches of 4"
        before = {path: path.read_bytes() for path in folder.rglob("round_*.npz")}
        apply(case)
        case.evaluate(folder)
        examples = EXAMPLES + (change == "an example more")
        assert len(asked) == rounds + -(-examples // case.experiment.config.eval.batch_size), f"{measure}: {change}"
        after = [path.read_bytes() for path in folder.rglob("round_*.npz")]
        assert len(after) == len(asked) and all(content in after for content in before.values())
        asked.clear()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: None,
        lambda c: c.configure("data", path="moved", in_memory=True, verify=False, changed="accept"),
        lambda c: c.configure("data", random_flip=True, augment=0.1),
        lambda c: c.configure("data", verify=False, in_memory=True, changed="accept"),
        lambda c: c.configure("eval", bpd_slots=3),
        lambda c: c.configure("training", log_freq=7),
        lambda c: c.configure("optim", lr=1.0),
    ],
)
@pytest.mark.parametrize("measure", MEASURES)
def test_what_changes_no_number_changes_nothing(
    change: Callable[[Case], Any], measure: str, tmp_path: Path, asked: list[str]
) -> None:
    case = Case(measure)
    case.evaluate(tmp_path)
    change(case)
    case.evaluate(tmp_path)
    assert len(asked) == 3


@pytest.mark.parametrize("change", [_guides_weight, _guides_prediction])
def test_another_guide_draws_anew(change: Callable[[Case], None], tmp_path: Path, asked: list[str]) -> None:
    """Its name counts for nothing, its weights and what they mean do."""
    case = Case().guided()
    case.evaluate(tmp_path)
    case.replace(settings=dataclasses.replace(case.experiment.settings, guide="moved"))
    case.evaluate(tmp_path)
    assert len(asked) == 3
    change(case)
    case.evaluate(tmp_path)
    assert len(asked) == 6
    alone = Case(guidance=2.0)
    alone.evaluate(tmp_path)
    assert len(asked) == 9


def test_checkpoints_are_listed_beside_those_of_the_same_examples(tmp_path: Path, asked: list[str]) -> None:
    """An earlier one, and a later one of a test set with another pixel."""
    case, folder = Case("bits"), tmp_path / "evaluation"
    for step, apply, listed in ((3, None, "3"), (4, None, "34"), (5, _one_level, "5"), (6, None, "56")):
        case.step = step
        if apply:
            apply(case)
        found = case.evaluate(tmp_path)
        rows = run.reports.table(folder, like=found).splitlines()[2:]
        assert "".join(row.split("|")[1].strip() for row in rows) == listed


def test_a_table_of_betas_counts_by_its_numbers(tmp_path: Path, asked: list[str]) -> None:
    case = Case()
    for last, computed in ((0.2, 3), (0.2, 3), (0.2000001, 6)):
        _betas(case, last)
        case.evaluate(tmp_path)
        assert len(asked) == computed


LANGEVIN = {"method": "pc", "predictor": "reverse_diffusion", "corrector": "langevin"}
CHURN = {"method": "heun", "s_churn": 5.0, "grid": "karras"}
GUIDED = {"guidance": 2.0, "label": 1}
OPTIONS: dict[str, tuple[dict[str, Any], Any]] = {  # a setting under which the option counts, and another value of it
    "method": ({"method": "euler"}, "heun"),
    "predictor": (LANGEVIN, "euler_maruyama"),
    "corrector": (LANGEVIN, "ald"),
    "snr": (LANGEVIN, 0.17),
    "n_steps_each": (LANGEVIN, 2),
    "corrector_norm": (LANGEVIN, "batch"),
    "steps": ({"method": "euler_maruyama"}, 999),
    "scheduler_config": (
        {"method": "DDIMScheduler", "steps": 5, "scheduler_config": "{}"},
        '{"timestep_spacing": "trailing"}',
    ),
    "flow_steps": ({"method": "flow_heun"}, 49),
    "evaluations": ({"method": "dpmpp_2m"}, 19),
    "grid": ({"method": "dpmpp_2m"}, "log_snr"),
    "karras_power": (CHURN, 6.0),
    "grid_shift": ({"method": "dpmpp_2m", "grid": "shifted"}, 2.0),
    "grid_noise": ({"method": "jump", "evaluations": 2, "grid": "given", "grid_noise": (1.0,)}, (2.0,)),
    "t_min": ({"method": "ode"}, 2e-3),
    "denoise": ({"method": "ode"}, "none"),
    "variance": ({"method": "ancestral"}, "large"),
    "discretization": ({"method": "reverse_diffusion"}, 1000),
    "eta": ({"method": "ddim"}, 1.0),
    "diffusion": ({"method": "interpolant_euler"}, "constant"),
    "diffusion_scale": ({"method": "interpolant_euler"}, 0.5),
    "s_churn": (CHURN, 6.0),
    "s_min": (CHURN, 0.1),
    "s_max": (CHURN, 10.0),
    "s_noise": (CHURN, 1.003),
    "threshold": ({"threshold": "clip"}, "dynamic"),
    "threshold_quantile": ({"threshold": "dynamic"}, 0.9),
    "rtol": ({"method": "ode"}, 1e-4),
    "atol": ({"method": "ode"}, 1e-4),
    "prior_scale": ({"method": "ddim"}, 0.997),
    "prompt": ({}, "a red fox"),
    "negative_prompt": (GUIDED, "a red fox"),
    "told_size": ({}, (1024, 1024, 0, 0, 1024, 1024)),
    "label": (GUIDED, 0),
    "guidance": (GUIDED, 3.0),
    "guidance_convention": (GUIDED, "weight"),
    "guidance_low": (GUIDED, 0.1),
    "guidance_high": (GUIDED, 5.0),
    "guidance_rescale": (GUIDED, 0.5),
    "likeliest_end": ({"method": "categorical_ancestral"}, True),
    "log_eps": ({"method": "categorical_ancestral"}, 1e-6),
    "flow_churn": ({"method": "discrete_flow"}, 1.0),
    "cached_answers": ({"method": "unmasking"}, True),
    "choice_temperature": ({"method": "maskgit"}, 2.0),
}


@pytest.mark.parametrize("option", [f.name for f in dataclasses.fields(Settings)])
def test_every_option_of_a_sampler_draws_anew(option: str, tmp_path: Path, asked: list[str]) -> None:
    """A new option needs a line in the table, and a rule in `samplers.settings` if some methods do without it."""
    if option in ingredients.BY_CONTENT:
        pytest.skip("it names a guide, whose weights count; see test_another_guide_draws_anew")
    settings, other = OPTIONS[option]
    case, key = Case(**settings), jax.random.key(0)

    def draw(settings: Settings) -> None:
        case.replace(settings=settings)
        drawing.draw_rounds(case.experiment, {}, settings.method, key, tmp_path / "samples", {})

    base = case.experiment.settings
    for settings, drawn in ((base, 3), (base, 3), (dataclasses.replace(base, **{option: other}), 6)):
        draw(settings)
        assert len(asked) == drawn


METHODS = ("pc", "ode", "ancestral", "flow_heun", "ddim", "dpmpp_2m", "euler")
OTHERS = {option: other for option, (_, other) in OPTIONS.items()} | {"threshold": "none", "label": -1}


@pytest.mark.parametrize("method", METHODS)
def test_what_an_option_is_left_out_of_it_does_not_change(method: str) -> None:
    """The traced sampler is the same program with the same numbers."""
    sde, z = sde_lib.create("vp"), jnp.ones((2, 3))
    base = Settings(method, corrector="none", steps=3, flow_steps=3, evaluations=6, t_min=1e-2, denoise="mean")

    def traced(settings: Settings) -> tuple[str, list[bytes]]:
        sampler = samplers.create(sde, lambda x, t: -x, settings)
        found = jax.make_jaxpr(sampler)(jax.random.key(0), z)
        return str(found.jaxpr), [np.asarray(value).tobytes() for value in found.consts]

    known, idle = traced(base), [name for name in OTHERS if name not in ("method", *base.used())]
    idle = [name for name in idle if name not in dataclasses.replace(base, **{name: OTHERS[name]}).used()]
    assert len(idle) > 10
    others = dataclasses.replace(base, **{name: OTHERS[name] for name in idle})
    assert others.used() == base.used() and traced(others) == known, idle
    used = next(name for name in ("rtol", "steps", "flow_steps", "evaluations") if name in base.used())
    assert traced(dataclasses.replace(base, **{used: 1e-3 if used == "rtol" else 4})) != known


@pytest.mark.parametrize("field", ["sha256", "resize", "samples"])
def test_features_belong_to_a_network_and_to_samples(field: str, tmp_path: Path, asked: list[str]) -> None:
    class Inception:
        sha256, resize = "ab" * 32, "pytorch"

        def __call__(self, images: np.ndarray) -> Features:
            asked.append("features")
            return Features(*(np.zeros((len(images), 3), np.float32) for _ in range(3)))

    inception, case = Inception(), Case()
    for change, computed in ((False, 3), (False, 3), (True, 6)):
        if change and field == "samples":
            case.replace(settings=Settings(steps=999))
        elif change:
            setattr(inception, field, "ab" * 31 + "cd" if field == "sha256" else "tf1")
        drawn = drawing.draw_rounds(case.experiment, {}, "euler_maruyama", jax.random.key(0), tmp_path / "samples", {})
        features.of_samples(case.experiment, drawn, inception)
        assert asked.count("features") == computed


def test_a_comparison_draws_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow and two entries of three rounds; an option of all of them, the network and the process."""
    calls: list[str] = []

    def drawn(self: Any, name: str, *_: Any, **__: Any) -> tuple[Any, float]:
        calls.append(name)
        return ((np.zeros((4, *SHAPE)), np.full(4, 9)) if name == "ode" else np.zeros((4, *SHAPE))), 0.1

    monkeypatch.setattr(compare._Draws, "_run", drawn)
    monkeypatch.setattr(compare.comparison, "picture", lambda *_: None)
    case = Case()
    case.configure("eval", compare=("ddim/uniform",), compare_evaluations=(5,), compare_maps=())
    case.configure("eval", compare_reference_evaluations=9)
    for change, computed in (
        (lambda: None, 9),
        (lambda: None, 9),
        (lambda: case.configure("model", prediction="v"), 18),
        (lambda: _one_weight(case), 27),
        (lambda: case.configure("eval", seed=1), 36),
        (lambda: case.replace(settings=Settings(eta=0.5)), 39),
    ):
        change()
        compare.compare(case.experiment, Workdir(tmp_path), _plan(tmp_path, case))
        assert len(calls) == computed


def _plan(folder: Path, *cases: Case) -> compare.Plan:
    """The comparison that `contenders.of_config` makes of runs in folders, the first of them the yardstick's."""
    asked, kept = cases[0].experiment.config.eval, [folder / "comparison", folder / "comparison" / "other"]
    runs = [
        contenders.Contender(
            str(i), folder, kept[i], case.experiment, entries.of_run(case.experiment, asked), 3, case.variables
        )
        for i, case in enumerate(cases)
    ]
    distance = quality.PixelDistance(cases[0].experiment, 10)
    return compare.Plan(runs, entries.yardstick(cases[0].experiment, asked), distance)


@pytest.mark.slow
def test_a_further_run_of_a_comparison_is_drawn_anew_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its own folder says counts for it; what the comparison asks for, the seed, for all."""
    calls: list[str] = []

    def drawn(self: Any, name: str, *_: Any, **__: Any) -> tuple[Any, float]:
        calls.append(f"{self.run.name} {name}")
        return ((np.zeros((4, *SHAPE)), np.full(4, 9)) if name == "ode" else np.zeros((4, *SHAPE))), 0.1

    monkeypatch.setattr(compare._Draws, "_run", drawn)
    monkeypatch.setattr(compare.comparison, "picture", lambda *_: None)
    case, other = Case(), Case()
    case.configure("eval", compare=("ddim/uniform",), compare_evaluations=(5,), compare_reference_evaluations=9)
    case.configure("eval", compare_maps=("jump",), compare_maps_evaluations=(2,))
    other.configure("eval", samplers=("jump", "pc"))
    first, further = {"0 ode", "0 euler_maruyama", "0 ddim"}, {"1 ode", "1 ddim", "1 jump"}
    for what, change, computed in (
        ("nothing yet", lambda: None, first | further),
        ("nothing", lambda: None, set()),
        ("weights", lambda: _one_weight(other), further),
        ("model", lambda: other.configure("model", prediction="v"), further),
        ("process", lambda: other.replace(sde=sde_lib.create("vp", beta_max=10.0)), further),
        ("codec", lambda: other.replace(codec=GreyLevels(LEVELS, False, "none", SHAPE)), further),
        ("settings", lambda: other.replace(settings=Settings(threshold="clip")), further),
        ("tolerance of no entry", lambda: other.replace(settings=Settings(threshold="clip", rtol=1e-3)), set()),
        ("option of one entry", lambda: other.replace(settings=Settings(threshold="clip", eta=0.5)), {"1 ddim"}),
        ("guide", other.guided, further),
        ("average", lambda: other.configure("eval", ema=False), further),
        ("without a flow", lambda: other.configure("eval", samplers=("jump",)), {"1 jump"}),
        ("seed", lambda: case.configure("eval", seed=1), first | {"1 jump"}),
        ("device", lambda: monkeypatch.setattr(compare, "environment", lambda: {"device": "another"}), None),
    ):
        change()
        calls.clear()
        compare.compare(case.experiment, Workdir(tmp_path), _plan(tmp_path, case, other))
        # No seconds are told of the flow, which is kept on another device.
        assert set(calls) == ((first | {"1 jump"}) - {"0 ode"} if computed is None else computed), what


def test_another_folder_of_pictures_has_its_own_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command, of an untrained run: each number is that of the folder asked for, mixed with no other's.

    The likelihood is replaced by the mean of a picture, whose value in each folder is known.
    """

    def folder(name: str, levels: list[int]) -> str:
        (tmp_path / name).mkdir(exist_ok=True)
        for i, level in enumerate(levels):
            Image.new("L", (8, 8), level).save(tmp_path / name / f"{i}.png")
        return str(tmp_path / name)

    config = digits.get_config()
    config.model.update(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    with config.unlocked():
        config.data.update(dataset="folder", path=folder("train", [0, 1]), image_size=8, num_channels=1)
        config.data.test_path = folder("dark", [10, 20, 30])
    config.eval.update(enable_sampling=False, enable_bpd=True, batch_size=2, bpd_max_examples=0)
    experiment, workdir = build(config), Workdir(tmp_path / "run")
    params = {name: np.zeros(a.shape, a.dtype) for name, a in experiment.network.abstract()["params"].items()}
    fixed = {name: np.zeros(a.shape, a.dtype) for name, a in experiment.network.abstract()["fixed"].items()}
    with workdir.store() as store:
        store.save(1, {"params": params, "ema": params, "fixed": fixed}, {})
    workdir.begin(config)
    computed: list[int] = []

    def mean(measure: Bits, variables: dict, batch: dict[str, Any], keys: Any) -> dict[str, Any]:
        computed.append(len(keys))
        image = np.asarray(batch["image"], float)
        spent, converged = np.zeros(len(keys), int), np.ones(len(keys), bool)
        return {"bits": image.mean(axis=(1, 2, 3)), "evaluations": spent, "converged": converged}

    monkeypatch.setattr(base, "network_jit", lambda function, dtype: function)
    monkeypatch.setattr(Bits, "compute", mean)

    def reported() -> float:
        main.run("evaluate", config, str(workdir.path))
        return json.loads((workdir.path / "report.json").read_text())["bits_per_dim"]["mean"]

    assert reported() == 20.0 and len(computed) == 2
    assert reported() == 20.0 and len(computed) == 2, "nothing has changed"
    config.data.test_path = folder("bright", [200, 210, 220, 230, 240])
    assert reported() == 220.0, "another folder, with more pictures"
    config.data.test_path = folder("dark", [12, 20, 30])
    assert reported() == pytest.approx(62 / 3), "a picture was changed in place"
    assert len(computed) == 2 + 3 + 2
