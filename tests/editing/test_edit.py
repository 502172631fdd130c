"""--mode=edit on a tiny run: what comes out of files and of test images, exact where it must be, and refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import inverse
import main
from configs.discrete import digits as discrete_digits
from configs.vp import digits, digits_classes
from configs.vp import photo_patches_ddpmpp as photo_patches
from data.images import load_image
from data.source import take
from editing import pictures
from editing.run import _known
from editing.tasks import TASK_INPUTS, Inputs, inputs
from experiment import Experiment, Refusal
from experiment.build import build
from experiment.workdir import Workdir
from sde_lib import of_score
from tests.data.test_folder import bilevel
from tests.experiment.given_autoencoder import latent_config, write_autoencoder
from tests.oracles import gaussian


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tiny(config: ConfigDict, size: int = 8) -> ConfigDict:
    """The config with a network that compiles in a second, and few steps."""
    with config.unlocked():
        config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
        config.data.image_size = size
        if config.data.dataset == "photo_patches":
            config.data.update(train_length=8, test_length=8, size=size)
    config.sampling.update(method="ddim", grid="uniform", evaluations=4, rtol=1e-3, atol=1e-3)
    config.eval.update(samplers=("ddim",))
    config.edit.update(count=3, images=2, method="consistent")
    return config


def begin(config: ConfigDict, path: Path) -> str:
    """A run of it with random weights."""
    variables = build(config).network.init(jax.random.key(0))
    params = {n: a + 0.05 * np.random.default_rng(0).standard_normal(a.shape) for n, a in variables["params"].items()}
    workdir = Workdir(path)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(7, {"ema": jax.tree.map(np.float32, params), "fixed": variables["fixed"]})
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return begin(tiny(digits.get_config()), tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    return begin(tiny(photo_patches.get_config()), tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def moderate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score whose images hardly leave the range, in place of the network's."""

    def score(experiment: Experiment, variables: dict, settings: Any, sde: Any, *told: Any) -> Any:
        return of_score(sde, gaussian(np.zeros(experiment.source.shape), 0.2).score(sde))

    monkeypatch.setattr("editing.steps.guided", score)


def edited(workdir: str, config: ConfigDict, **edit: object) -> np.ndarray:
    """The results of a new edit, levels [n, count, h, w, c]."""
    config.edit.update(edit)
    main.run("edit", config, workdir)
    label = config.sampling.label
    name = f"{config.edit.task}_step_7_seed_0" + (f"_label_{label}" if label >= 0 else "")
    assert (Path(workdir) / "edits" / f"{name}.png").exists()
    return np.load(Path(workdir) / "edits" / f"{name}.npz")["results"]


def test_inpainting_keeps_the_known_pixels_and_no_earlier_file_is_lost(run: str, capsys) -> None:
    config = tiny(digits.get_config())
    images = take(build(config).source.test, np.arange(2))["image"]
    found = edited(run, config)
    assert found.shape == (2, 3, 8, 8, 1) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, :, :4], np.broadcast_to(images[:, None, :4], (2, 3, 4, 8, 1)))
    assert (found[:, 0, 4:] != found[:, 1, 4:]).any() and (found[:, 0, 4:] != images[:, 4:]).any()
    assert "inpaint: 2 x 3 images, 4 evaluations each" in capsys.readouterr().out
    with Image.open(Path(run) / "edits" / "inpaint_step_7_seed_0.png") as grid:
        assert (np.asarray(grid)[2 : 2 * 34, 5 * 34 + 2 :] == 255).all()  # the picture, what is known, three results
        assert grid.height > 2 * 34 + 2  # and a caption
        told = {name: grid.info[name] for name in ("task", "checkpoint", "evaluations", "edit.mask")}
    assert told == {"task": "inpaint by consistent", "checkpoint": "7", "evaluations": "4.0", "edit.mask": "upper"}
    with np.load(Path(run) / "edits" / "inpaint_step_7_seed_0.npz") as array:
        assert {name: str(array[name]) for name in told} == told
    again = edited(run, config)
    np.testing.assert_array_equal(again, found)
    assert (Path(run) / "edits" / "inpaint_step_7_seed_0.1.npz").exists()


def test_a_mask_and_a_picture_from_files(run: str, tmp_path: Path) -> None:
    config = tiny(digits.get_config())
    rng = np.random.default_rng(1)
    known, picture = rng.random((8, 8)) < 0.5, rng.integers(0, 256, (8, 8)).astype(np.uint8)
    Image.fromarray(np.where(known, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(picture).save(tmp_path / "picture.png")
    found = edited(
        run, config, mask=str(tmp_path / "mask.png"), image=str(tmp_path / "picture.png"), method="replacement"
    )
    nearest = np.floor(picture / 255 * 16 + 0.5)
    assert found.shape == (1, 3, 8, 8, 1)
    np.testing.assert_array_equal(found[0, :, known, 0], np.broadcast_to(nearest[known][:, None], (known.sum(), 3)))


def test_super_resolution_agrees_with_the_small_picture(run: str, moderate: None, tmp_path: Path) -> None:
    """Before clipping the mean of each square is the pixel; what is clipped is left out."""
    small = np.random.default_rng(2).integers(60, 200, (4, 4)).astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "small.png")
    found = edited(run, tiny(digits.get_config()), task="super_resolve", image=str(tmp_path / "small.png"))
    means = found[0, :, :, :, 0].reshape(3, 4, 2, 4, 2)
    inner = ((means > 0) & (means < 16)).all((2, 4))
    assert inner.mean() > 0.5
    difference = np.abs(means.mean((2, 4)) - small / 255 * 16)
    assert difference[inner].max() < 0.51  # four levels, each rounded


def test_colourisation_agrees_with_the_grey_picture(colours: str, moderate: None, tmp_path: Path) -> None:
    grey = np.random.default_rng(3).integers(90, 160, (8, 8)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    config = tiny(photo_patches.get_config())
    found = edited(colours, config, task="colorize", image=str(tmp_path / "grey.png"))
    assert found.shape == (1, 3, 8, 8, 3)
    inner = ((found > 0) & (found < 255)).all(-1)
    assert inner.mean() > 0.1
    luma = found @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - grey)[inner].max() < 1.01
    assert (found[..., 0] != found[..., 1]).any()


def test_variations_and_interpolations(run: str, moderate: None) -> None:
    config = tiny(digits.get_config())
    images = take(build(config).source.test, np.arange(4))["image"]
    near = edited(run, config, task="vary", strength=0.01)
    far = edited(run, config, task="vary", strength=1.0)
    distance = lambda found: np.abs(found.astype(float) - images[:2, None]).mean()  # noqa: E731
    assert distance(near) < 2.0 < distance(far)
    found = edited(run, config, task="interpolate", count=3)
    np.testing.assert_allclose(found[:, 0].astype(float), images[0::2], atol=1)
    np.testing.assert_allclose(found[:, 2].astype(float), images[1::2], atol=1)
    assert (found[:, 1] != found[:, 0]).any()


def test_the_named_masks_are_what_they_say() -> None:
    experiment = build(tiny(digits.get_config()))
    upper, lower, left, right, border = (pictures.mask(experiment, name) for name in pictures.MASKS)
    assert upper[:4].all() and not upper[4:].any() and (lower == ~upper).all()
    assert left[:, :4].all() and not left[:, 4:].any() and (right == ~left).all()
    assert border[0].all() and border[:, -1].all() and not border[3:5, 3:5].any() and border.sum() == 64 - 16


@pytest.mark.parametrize(
    ("edit", "sampling", "message"),
    [
        ({"task": "erase"}, {}, f"edit.task is 'erase'; known are {', '.join(TASK_INPUTS)}"),
        ({"mask": "middle"}, {}, "edit.mask is 'middle'; it is one of upper"),
        ({"images": 298}, {}, "edit.images is 298, which takes 298 test images, and 'digits' has 297"),
        ({"task": "colorize"}, {}, "needs a model of colour images"),
        ({"task": "super_resolve", "factor": 3}, {}, "edit.factor is 3, which does not divide"),
        ({"task": "interpolate", "image": "a.png"}, {}, "'interpolate' needs two files"),
        ({"image": "nowhere.png"}, {}, "nowhere.png"),
        ({"method": "magic"}, {}, f"method is 'magic'; known are auto, {', '.join(inverse.METHODS)}"),
        ({"method": "replacement"}, {"method": "ode"}, "acts between steps"),
        ({"noise": 0.1}, {}, "noise"),
        ({"count": 0}, {}, "edit.count is 0"),
        ({"task": "interpolate"}, {"rtol": 0.0}, "sampling.rtol is 0.0"),
        ({"task": "vary", "strength": 1.5}, {}, "1.5"),
    ],
)
def test_what_cannot_be_edited_is_refused_in_one_line(run: str, edit: dict, sampling: dict, message: str) -> None:
    config = tiny(digits.get_config())
    config.edit.update(edit)
    config.sampling.update(sampling)
    with pytest.raises(Refusal) as refusal:
        main.run("edit", config, run)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_files_that_are_no_pictures_are_refused_in_one_line(run: str, tmp_path: Path) -> None:
    """Texts, folders, nothing, and more pixels than are read, in each field that takes a file."""
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    bilevel(tmp_path / "huge.png", 20_000, 20_000)
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "good.png")
    reasons = {
        "text": "not a picture",
        "folder": "not a file",
        "huge": "67108864 pixels",
        "deep": "8 bits",
        "no": "no such",
    }
    for name, reason in reasons.items():
        path = str(tmp_path / f"{name}.png")
        other = {"task": "interpolate", "image": str(tmp_path / "good.png"), "other": path}
        for edit in ({"image": path}, {"mask": path}, other):
            config = tiny(digits.get_config())
            config.edit.update(edit)
            with pytest.raises(Refusal) as refusal:
                main.run("edit", config, run)
            field = "other" if "other" in edit else next(iter(edit))
            line = str(refusal.value)
            assert line.startswith(f"edit.{field} is {path!r}") and "\n" not in line
            assert reason in line or (field == "mask" and "one of upper" in line)


def test_pictures_of_any_size_are_cut_to_the_central_square_and_resized(tmp_path: Path, monkeypatch) -> None:
    """Of 24 x 16 pixels the middle 16 x 16 as 8 x 8; where it is flat, no colour from outside or of antialiasing."""
    experiment, lines = build(tiny(photo_patches.get_config())), []
    monkeypatch.setattr("absl.logging.info", lambda text, *values: lines.append(text % values))
    wide = np.zeros((16, 24, 3), np.uint8)
    wide[:, 4:20] = (100, 150, 200)
    wide[8:, 4:20] = (50, 60, 70)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    found = pictures.given(experiment, str(tmp_path / "wide.png"), 1) * 255
    assert found.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(found[0, [0, -1]], np.broadcast_to([[[100, 150, 200]], [[50, 60, 70]]], (2, 8, 3)))
    np.testing.assert_array_equal(found[0], load_image(tmp_path / "wide.png", channels=3, size=8))
    said = "wide.png' is 24 x 16 pixels (width x height): its central 16 x 16 are resized to 8 x 8"
    assert len(lines) == 1 and said in lines[0]
    Image.fromarray(wide[:8, 4:12]).save(tmp_path / "exact.png")
    found = pictures.given(experiment, str(tmp_path / "exact.png"), 1) * 255
    np.testing.assert_array_equal(found[0], wide[:8, 4:12])
    assert len(lines) == 1


def test_a_mask_of_another_size_is_known_where_most_of_a_pixel_is(tmp_path: Path) -> None:
    """20 x 16: the columns beyond the central square do not count; blocks of 2 x 2 with 0 to 4 white pixels."""
    experiment = build(tiny(digits.get_config()))
    whites = np.random.default_rng(0).integers(0, 5, (8, 8))
    blocks = (np.arange(4).reshape(2, 2)[None, None] < whites[..., None, None]).transpose(0, 2, 1, 3).reshape(16, 16)
    large = np.pad(blocks, ((0, 0), (2, 2)), constant_values=True)
    Image.fromarray(large.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(pictures.mask(experiment, str(tmp_path / "mask.png")), whites > 2)
    small = np.eye(4) > 0
    Image.fromarray(small.astype(np.uint8) * 255).save(tmp_path / "small.png")
    np.testing.assert_array_equal(
        pictures.mask(experiment, str(tmp_path / "small.png")), np.kron(small, np.ones((2, 2)))
    )


def test_a_small_picture_of_any_size_is_what_super_resolution_measures(tmp_path: Path) -> None:
    """6 x 5 pixels become the 4 x 4 of factor 2; a picture of the model's size or more is measured itself."""
    config = tiny(digits.get_config())
    config.edit.update(task="super_resolve", image=str(tmp_path / "a.png"))
    for size, measured in (((6, 5), True), ((4, 4), True), ((8, 9), False), ((40, 30), False)):
        Image.fromarray(np.full(size, 51, np.uint8)).save(tmp_path / "a.png")
        found = inputs(build(config), config.edit)
        assert found.y.shape == (1, 4, 4, 1) and (found.originals is None) == measured
        experiment = build(config)
        centres = experiment.codec.centres()
        np.testing.assert_allclose(found.y, centres[0] + 0.2 * (centres[-1] - centres[0]), atol=1e-6)


def _rgba(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8))


def test_a_mask_uses_its_alpha_where_there_is_some(tmp_path: Path) -> None:
    """A white mask with a hole, a photograph with one, colours all black behind an alpha, palettes and keys."""
    experiment, path = build(tiny(digits.get_config())), tmp_path / "mask.png"
    known = np.random.default_rng(0).random((8, 8)) < 0.6
    alpha, noise = 255 * known, np.random.default_rng(1).integers(0, 256, (8, 8, 3))
    noise[~known] = 255  # hidden colours do not count
    grey, key = np.where(known, 200, 7).astype(np.uint8), Image.fromarray(np.where(known, 255, 9).astype(np.uint8))
    palette = Image.fromarray(known.astype(np.uint8), "P")
    palette.putpalette([255] * 6)
    holes = {
        "white": (_rgba(np.full((8, 8, 3), 255), alpha), {}),
        "photograph": (_rgba(noise, alpha), {}),
        "grey": (Image.fromarray(np.dstack([grey, alpha.astype(np.uint8)]), "LA"), {}),
        "key": (key, {"transparency": 9}),
        "palette": (palette, {"transparency": 0}),
    }
    for name, (picture, options) in holes.items():
        picture.save(path, **options)
        np.testing.assert_array_equal(pictures.mask(experiment, str(path)), known, err_msg=name)
    opaque = np.repeat(255 * known[..., None], 3, axis=2)
    _rgba(opaque, np.full((8, 8), 255)).save(path)  # without transparent pixels the colours count
    np.testing.assert_array_equal(pictures.mask(experiment, str(path)), known)


def test_a_mask_that_says_two_things_or_nothing_is_refused(tmp_path: Path) -> None:
    experiment, path = build(tiny(digits.get_config())), tmp_path / "mask.png"
    half, black_and_white = np.repeat([[0], [255]], 4, axis=0) * np.ones((1, 8)), np.zeros((8, 8, 3))
    black_and_white[:, ::2] = 255
    for picture, message in (
        (_rgba(black_and_white, half), "painted black"),
        (_rgba(np.zeros((8, 8, 3)), half), "painted black"),
        (_rgba(black_and_white, np.zeros((8, 8))), "none of it is opaque"),
        (_rgba(np.full((8, 8, 3), 255), np.full((8, 8), 255)), "all of it is white"),
        (_rgba(np.zeros((8, 8, 3)), np.full((8, 8), 255)), "none of it is white"),
    ):
        picture.save(path)
        with pytest.raises(ValueError, match=message):
            pictures.mask(experiment, str(path))


def test_a_transparent_picture_is_edited_as_it_looks_on_white(tmp_path: Path) -> None:
    experiment = build(tiny(photo_patches.get_config()))
    for hidden in (0, 255):
        colours = np.full((8, 8, 3), hidden)
        colours[2:6, 2:6] = (200, 100, 0)
        alpha = np.zeros((8, 8))
        alpha[2:6, 2:6] = 255
        _rgba(colours, alpha).save(tmp_path / "a.png")
        found = pictures.given(experiment, str(tmp_path / "a.png"), 1)[0] * 255
        np.testing.assert_array_equal(found, np.where(alpha[..., None] > 0, colours, 255))


@pytest.mark.slow
def test_a_network_of_classes_is_told_the_one_asked_for(tmp_path: Path) -> None:
    """In every task: the interpolation's flow has another number of images than `edit.count`."""
    workdir = begin(tiny(digits_classes.get_config()), tmp_path / "run")
    config = tiny(digits_classes.get_config())
    plain = edited(workdir, config)
    config.sampling.label = 3
    told = edited(workdir, config)
    assert (plain != told).any()
    np.testing.assert_array_equal(plain[:, :, :4], told[:, :, :4])
    config.sampling.update(rtol=0.1, atol=0.1)
    for task in ("vary", "interpolate"):
        assert edited(workdir, config, task=task).shape == (2, 3, 8, 8, 1)
    config.sampling.update(label=-1, guidance=2.0)
    with pytest.raises(Refusal, match="without a class there is nothing to be guided to"):
        main.run("edit", config, workdir)


@pytest.mark.slow
def test_a_network_that_predicts_a_variance_on_a_chain(tmp_path: Path) -> None:
    """Every task with its score alone or both, by ancestral sampling of levels and by the adaptive flow."""
    config = tiny(discrete_digits.get_config())
    with config.unlocked():
        config.model.update(nf=32, num_heads=1, head_channels=None)
    config.sampling.update(method="ancestral", variance="learned_range", grid="respaced", steps=4, rtol=0.1, atol=0.1)
    workdir = begin(config, tmp_path / "run")
    for task, method in (("inpaint", "dps"), ("inpaint", "replacement"), ("vary", ""), ("interpolate", "")):
        assert np.isfinite(edited(workdir, config, task=task, method=method or "consistent")).all()


def test_what_is_known_is_shown_as_an_image() -> None:
    """Grey stays grey, small pixels are enlarged, what a mask hides is mid-grey."""
    experiment = build(tiny(photo_patches.get_config()))
    middle = experiment.codec.centres().mean()
    whole = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)), jnp.float32)
    grey, small = inverse.grey(), inverse.downsample(2)
    seen = _known(experiment, Inputs(None, None, grey), np.asarray(grey.apply(whole)))
    assert seen.shape == whole.shape and (seen == seen[..., :1]).all()
    seen = _known(experiment, Inputs(None, None, small), np.asarray(small.apply(whole)))
    np.testing.assert_array_equal(seen[:, ::2, ::2], seen[:, 1::2, 1::2])
    np.testing.assert_allclose(small.apply(jnp.asarray(seen)), small.apply(whole), atol=1e-6)
    hidden = np.arange(64).reshape(8, 8) % 3 == 0
    seen = _known(experiment, Inputs(np.asarray(whole), None, known=~hidden), np.asarray(whole))
    np.testing.assert_allclose(seen[:, hidden], middle, atol=1e-6)
    np.testing.assert_array_equal(seen[:, ~hidden], whole[:, ~hidden])


@pytest.mark.slow
def test_latents_are_edited_and_known_pixels_pasted_back(tmp_path: Path) -> None:
    """The mask's latents are known to the number; what is measured in pixels has no counterpart."""
    write_autoencoder(tmp_path / "codec")
    config = latent_config(tmp_path / "codec")
    config.data.latent_scale, config.data.latent_shift = 1.0, 0.0
    config.edit.update(images=2, count=3)
    workdir = begin(config, tmp_path / "run")
    for task in ("inpaint", "vary", "interpolate"):
        found = edited(workdir, config, task=task, method="replacement", mask="left", paste=task == "inpaint")
        assert found.shape == (2, 3, 8, 8, 1) and found.dtype == np.uint8
        if task == "inpaint":
            truth = np.stack([build(config).source.test[i]["image"] for i in range(2)])
            np.testing.assert_array_equal(found[:, :, :, :4], np.repeat(truth[:, None, :, :4], 3, axis=1))
    free = edited(workdir, config, task="inpaint", method="replacement", mask="left", paste=False)
    assert (free[:, :, :, :4] != truth[:, None, :, :4]).any()
    read = inputs(build(config), config.edit)
    experiment = build(config)
    y = experiment.codec.pictures.encode(truth)
    np.testing.assert_allclose(read.y[:, :, :2], experiment.codec.of_pictures(y)[:, :, :2], rtol=1e-5, atol=1e-6)
    assert read.measurement.known.shape == (4, 4) and read.measurement.known.sum() == 8
    config.edit.task = "super_resolve"
    with pytest.raises(
        ValueError, match=r"'super_resolve' measures pixels, .*of latents are inpaint, interpolate, vary"
    ):
        inputs(experiment, config.edit)


def test_a_latent_is_known_where_all_its_pixels_are(tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "codec")
    experiment = build(latent_config(tmp_path / "codec"))
    known = np.ones((8, 8), bool)
    known[3, 5] = known[6:, :3] = False
    expected = np.ones((4, 4), bool)
    expected[1, 2] = expected[3, :2] = False
    np.testing.assert_array_equal(pictures.reduced(experiment, known), expected)
    with pytest.raises(ValueError, match="each latent stands for 2 x 2 pixels, and nowhere are all of those known"):
        pictures.reduced(experiment, np.indices((8, 8)).sum(axis=0) % 2 == 0)
