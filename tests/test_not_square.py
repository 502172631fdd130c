"""Images that are not square: every room takes height and width for what they are, from the folder to the report."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import data
import main
from checkpoints import diffusers_unet, edm
from configs.vp import folder_ddpmpp
from data.augment import random_flip
from data.images import fitted_mask, load_image
from experiment import fields
from experiment.ranges import check_config
from models.functional import Network
from tests.models.published_weights import compiled

SIZE = (6, 10)


def saved(pixels: np.ndarray, file: Path) -> Path:
    Image.fromarray(pixels).save(file)
    return file


@pytest.mark.parametrize(("size", "kept"), [((8, 32), np.s_[16:48, :]), ((32, 8), np.s_[:, 56:72])])
def test_the_largest_rectangle_of_these_proportions_is_cut_out_of_the_middle(tmp_path, size, kept):
    """Nothing outside it shines through, and all of it counts: 100 on average, of 50 and 150 in turn."""
    pixels = np.full((64, 128, 3), 255, np.uint8)
    pixels[kept] = 50
    pixels[kept][::2] += 100
    image = load_image(saved(pixels, tmp_path / "a.png"), channels=3, size=size)
    assert image.shape == (*size, 3)
    assert np.abs(image.astype(int) - 100)[1:-1].max() <= 3
    mask = fitted_mask(pixels[..., 0] < 255, size)
    assert mask.shape == size and mask.all()
    assert not fitted_mask(pixels[..., 0] == 255, size).any()


def test_a_pair_of_equal_sides_is_the_square(tmp_path):
    file = saved(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8), tmp_path / "a.png")
    for options in ({"size": 16}, {"crop": 20}, {"crop": 20, "size": 8}):
        pair = {name: (side, side) for name, side in options.items()}
        found, square = (load_image(file, channels=3, **given) for given in (pair, options))
        np.testing.assert_array_equal(found, square)


def test_a_picture_of_the_size_is_left_alone_and_a_crop_need_not_be_square(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    file = saved(pixels, tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(file, channels=3, size=SIZE), pixels)
    np.testing.assert_array_equal(load_image(file, channels=3, crop=(4, 10)), pixels[1:5])
    with pytest.raises(ValueError, match=r"crop=\(7, 10\) does not fit into 10x6 pixels"):
        load_image(file, channels=3, crop=(7, 10))


def test_photo_patches_are_pieces_of_the_photographs():
    source = data.create("photo_patches", size=SIZE, train_length=3, test_length=2)
    assert source.shape == source.train[0]["image"].shape == source.test[1]["image"].shape == (*SIZE, 3)
    photos = source.train.photos
    photo, top, left = source.train.corners[2]
    np.testing.assert_array_equal(source.train[2]["image"], photos[photo, top : top + 6, left : left + 10])
    with pytest.raises(ValueError, match=r"data.size is \(428, 8\); .* fit into \(427, 128\)"):
        data.create("photo_patches", size=(428, 8))


def test_a_flip_turns_the_width_around_and_leaves_the_height():
    x = jnp.arange(60.0).reshape(1, 6, 10, 1).repeat(64, axis=0)
    flipped = np.asarray(random_flip(jax.random.split(jax.random.key(0), 64), x))
    turned = (flipped != x).any(axis=(1, 2, 3))
    assert 16 < turned.sum() < 48
    np.testing.assert_array_equal(flipped[turned], x[turned][:, :, ::-1])


@pytest.mark.parametrize(
    ("text", "value"), [("32,48", (32, 48)), ("(32,48)", (32, 48)), ("(32, 48)", (32, 48)), ("16", 16)]
)
def test_the_command_line_takes_one_number_or_two(text, value):
    config = fields.override(folder_ddpmpp.get_config(), [("data.image_size", text)])
    assert config.data.image_size == value
    check_config(config)


@pytest.mark.parametrize("text", ["32,48,3", "(32,)", "0,4", "-1", "32,0.5", "x"])
def test_another_size_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"data.image_size .*whole number") as error:
        check_config(fields.override(folder_ddpmpp.get_config(), [("data.image_size", text)]))
    assert "\n" not in str(error.value)


def test_the_last_of_two_sizes_on_a_command_line_counts():
    config = fields.override(folder_ddpmpp.get_config(), [("data.image_size", "32"), ("data.image_size", "16")])
    assert config.data.image_size == 16


UNET = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (3,)}
NETWORKS = {
    "ncsnpp": UNET | {"fir": True, "progressive_input": "residual"},
    "ddpm": UNET | {"num_groups": 4},
    "edm_unet": UNET,
    "adm": UNET | {"head_channels": 8},
    "guided_unet": UNET | {"nf": 32},
    "ncsnv2_64": {"nf": 8, "scale_by_sigma": False},
    "ncsn": {"nf": 8, "num_scales": 4},
    "noisy_classifier": UNET | {"head_channels": 8, "label_dim": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_treats_height_and_width_alike(name):
    """Images and kernels that are transposed give the transposed output; so no two axes are exchanged anywhere."""
    options = NETWORKS[name] | {"num_channels": 3}
    lying, upright = (Network.create(name, image_size=size, **options) for size in (SIZE, SIZE[::-1]))
    leaves, structure = jax.tree.flatten(lying.abstract())
    random = np.random.default_rng(0)
    variables = jax.tree.unflatten(structure, [0.2 * random.normal(size=leaf.shape).astype("f4") for leaf in leaves])

    def transposed(path: str, value: np.ndarray) -> np.ndarray:
        if path == "head.position":  # of the mean, then of the 3 x 5 pixels
            return np.concatenate([value[:1], value[1:].reshape(3, 5, -1).swapaxes(0, 1).reshape(15, -1)])
        return value.swapaxes(0, 1) if value.ndim == 4 else value

    turned = variables | {"params": {path: transposed(path, value) for path, value in variables["params"].items()}}
    x, c_noise = random.normal(size=(2, *SIZE, 3)).astype("f4"), jnp.array([1.0, 2.0])
    found = compiled(lying.apply)(variables, x, c_noise)
    other = compiled(upright.apply)(turned, x.swapaxes(1, 2), c_noise)
    other = other if name == "noisy_classifier" else other.swapaxes(1, 2)
    assert found.shape == ((2, 3) if name == "noisy_classifier" else x.shape)
    np.testing.assert_allclose(found, other, rtol=1e-3, atol=1e-4 * np.abs(found).max())


@pytest.mark.parametrize("name", ["ncsnpp", "adm"])
def test_attention_is_where_the_shorter_side_says(name):
    options = NETWORKS[name] | {"num_channels": 3}
    for size in (SIZE, SIZE[::-1]):
        names = Network.create(name, image_size=size, **options).abstract()["params"]
        assert any(path.startswith("down.1.attention.0") for path in names)
        assert not any(path.startswith("down.0.attention") for path in names)
    with pytest.raises(ValueError, match=r"attn_resolutions \[5\] never occur: the levels have sizes \[6, 3\]"):
        Network.create(name, image_size=SIZE, **options | {"attn_resolutions": (5,)})


@pytest.mark.parametrize("name", ["ncsnpp", "adm", "ncsnv2_64"])
def test_both_sides_must_be_halved(name):
    for size in ((6, 9), (9, 6)):
        with pytest.raises(ValueError, match=r"image_size=\(., .\) cannot be halved 1 times, .* multiples of 2"):
            Network.create(name, image_size=size, num_channels=3, **NETWORKS[name])


def test_formats_that_know_squares_alone_are_refused():
    network = Network.create("edm_unet", image_size=SIZE, num_channels=3, **NETWORKS["edm_unet"])
    with pytest.raises(ValueError, match=r"square images, and data.image_size is \(6, 10\)"):
        edm.places(network)
    network = Network.create("ncsnpp", image_size=SIZE, num_channels=3, **NETWORKS["ncsnpp"])
    with pytest.raises(ValueError, match=r"image_size is \(6, 10\), .*squares only"):
        diffusers_unet.config_of(network)


def test_a_ddpm_of_diffusers_need_not_be_square():
    options = {"image_size": SIZE, "num_channels": 3, **NETWORKS["ddpm"], "attend_each_block": True}
    described = diffusers_unet.config_of(Network.create("ddpm", **options))
    assert described["sample_size"] == list(SIZE)
    name, found = diffusers_unet.network_options(described)
    assert name == "ddpm"
    assert {option: found[option] for option in options} == options


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A run on 24 pictures of 12 x 20 pixels: two steps, samples, an evaluation; and the pictures."""
    folder, rng = tmp_path_factory.mktemp("not_square"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(24):
        saved(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8), folder / "pictures" / f"{i}.png")
    jax.config.update("jax_disable_most_optimizations", True)
    for mode in ("train", "sample", "evaluate"):
        main.run(mode, small(folder), str(folder / "run"))
    yield folder / "run", folder / "pictures"
    jax.config.update("jax_disable_most_optimizations", False)


def small(folder: Path) -> ConfigDict:
    config = folder_ddpmpp.get_config()
    config.data.update(path=str(folder / "pictures"), test_fraction=0.4, random_flip=True)
    with config.ignore_type():
        config.data.image_size = SIZE
    config.model.update(nf=4, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(3,))
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=2, snapshot_sampling=True)
    config.training.update(snapshot_freq=2, snapshot_freq_for_preemption=1)
    config.sampling.update(method="ddim", grid="uniform", evaluations=2)
    config.eval.update(num_samples=12, batch_size=8, bpd_max_examples=4, rtol=1e-1, atol=1e-1)
    config.eval.update(samplers=("ddim",), bpd_probe="rademacher")
    config.edit.update(count=2, images=2, method="consistent")
    return config


@pytest.mark.slow
def test_a_run_trains_draws_and_is_evaluated(run):
    workdir, _ = run
    with np.load(next((workdir / "samples").glob("ddim_step_2_*.npz"))) as array:
        assert array["samples"].shape[1:] == (*SIZE, 3)
    with Image.open(workdir / "samples" / "step_00000002.png") as grid:  # 7 in a row of 64, which is about square
        assert grid.width == 7 * (40 + 2) + 2 and grid.height > 10 * (24 + 2) + 2
    report = json.loads((workdir / "report.json").read_text())
    assert np.isfinite([report["bits_per_dim"]["mean"], report["samplers"]["ddim"]["frechet_distance"]]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "shape"),
    [
        ({"task": "inpaint", "mask": "left"}, (2, 2)),
        ({"task": "super_resolve", "factor": 2}, (2, 2)),
        ({"task": "super_resolve", "factor": 2, "image": (3, 5)}, (1, 2)),
        ({"task": "inpaint", "mask": "border", "image": (50, 30)}, (1, 2)),
    ],
)
def test_edits(run, tmp_path, edit, shape):
    workdir, pictures = run
    config = small(pictures.parent)
    if "image" in edit:
        pixels = np.random.default_rng(1).integers(0, 256, (*edit["image"], 3), dtype=np.uint8)
        edit = edit | {"image": str(saved(pixels, tmp_path / "a.png"))}
    config.edit.update(edit)
    main.run("edit", config, str(workdir))
    newest = max((workdir / "edits").glob("*.npz"), key=lambda file: file.stat().st_mtime_ns)
    found = np.load(newest)["results"]
    assert found.shape == (*shape, *SIZE, 3)
    if edit["task"] == "inpaint" and "image" not in edit:
        test = data.create("folder", path=str(pictures), image_size=SIZE, test_fraction=0.4).test
        for i in range(2):
            np.testing.assert_array_equal(found[i, :, :, :5], np.stack([test[i]["image"][:, :5]] * 2))
