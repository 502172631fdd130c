"""The FID network against torch-fidelity and pytorch-fid, with weights by a rule."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from metrics.inception import RESIZES, InceptionV3, fold, layout, prepared, resized, taps
from tests.metrics.inception_weights import tensors as filled

FOLDER = Path(__file__).parents[1] / "reference" / "metrics"
THEIRS = {"pytorch": ("pytorch_fid", "resized_halfpixel"), "tf1": ("torch_fidelity", "resized_tf1")}
with np.load(FOLDER / "images.npz") as archive:
    IMAGES = {name: images.transpose(0, 2, 3, 1) for name, images in archive.items()}
with np.load(FOLDER / "inception_features.npz") as archive:
    KNOWN = dict(archive)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return filled()


@pytest.fixture(scope="module")
def found(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every feature of every image with both resizes, by the keys of the reference: one compilation for all."""
    compiled = jax.jit(taps)
    x = [prepared(images, resize) for resize in RESIZES for images in IMAGES.values()]
    out = {name: np.asarray(values) for name, values in compiled(fold(tensors), np.concatenate(x)).items()}
    ends = np.cumsum([len(part) for part in x])
    sets = [f"{THEIRS[resize][0]}/{name}" for resize in RESIZES for name in IMAGES]
    features = {
        f"{of}/{name}": part
        for name, values in out.items()
        for of, part in zip(sets, np.split(values, ends[:-1]), strict=True)
    }
    biased = {f"{key}_unbiased": features.pop(key) for key in list(features) if key.endswith("/logits")}
    return features | biased | {key.removesuffix("_unbiased"): v + tensors["fc.bias"] for key, v in biased.items()}


def test_the_tensors_are_those_of_the_published_file(tensors: dict[str, np.ndarray]) -> None:
    """All 472 names and shapes; and the rule that fills them is the reference's."""
    known = {
        entry["name"]: tuple(entry["shape"]) for entry in json.loads((FOLDER / "inception_layout.json").read_text())
    }
    assert layout() == known and len(known) == 472
    for name, check in json.loads((FOLDER / "inception_fill_check.json").read_text())["check"].items():
        values = tensors[name].astype(np.float64).ravel()
        np.testing.assert_allclose(values[:4], check["first"], rtol=1e-6)
        assert values.sum() == pytest.approx(check["sum"], rel=1e-6)
        assert (values**2).sum() == pytest.approx(check["sumsq"], rel=1e-6)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("name", IMAGES)
def test_resize(name: str, resize: str) -> None:
    rows = KNOWN["resize_index"]
    x = np.asarray(resized(IMAGES[name], resize))[:, rows][:, :, rows].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(x, KNOWN[f"{THEIRS[resize][1]}/{name}"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("key", [key for key in KNOWN if not key.startswith("resize")])
def test_features(found: dict[str, np.ndarray], key: str) -> None:
    """Both resizes, enlarging and reducing. The references' own float32 pass is within 4e-5 of these."""
    np.testing.assert_allclose(found[key], KNOWN[key], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def marked(tensors: dict[str, np.ndarray]) -> InceptionV3:
    """The network on two devices, its mixed_6/conv (Mixed_6d.branch1x1) replaced by the number of the channel."""
    conv, norm = "Mixed_6d.branch1x1.conv.weight", "Mixed_6d.branch1x1.bn."
    number = {norm + "bias": np.arange(192.0), norm + "running_mean": np.zeros(192)}
    changed = {**tensors, conv: np.zeros_like(tensors[conv]), **number}
    return InceptionV3(changed, "pytorch", sha256="abc", devices=jax.local_devices()[:2])


def test_sfid_looks_at_seven_channels_of_one_convolution(marked: InceptionV3) -> None:
    """At all 17 x 17 places. Everything but what follows it is as it was: spread over devices the same network."""
    out = marked(IMAGES["noise32"])
    assert out.pool.shape == (2, 2048) and out.logits.shape == (2, 1008)
    np.testing.assert_array_equal(out.spatial, np.tile(np.arange(7.0), (2, 17 * 17)))


def test_devices_share_a_batch(tensors: dict[str, np.ndarray], marked: InceptionV3) -> None:
    network = InceptionV3(tensors, "pytorch", devices=jax.local_devices()[:2])
    out = network(IMAGES["noise32"])
    assert len(out.pool.devices()) == 2
    np.testing.assert_allclose(out.pool, KNOWN["pytorch_fid/noise32/2048"], rtol=0, atol=1e-4)


def test_num_batches_tracked_may_be_there(tensors: dict[str, np.ndarray]) -> None:
    names = {f"{name}.bn.num_batches_tracked": np.array(0) for name in ("Conv2d_1a_3x3", "Mixed_7c.branch1x1")}
    assert fold(tensors | names).keys() == fold(tensors).keys()


def test_other_tensors_are_listed(tensors: dict[str, np.ndarray]) -> None:
    """As those of a model zoo's Inception: 1000 classes, auxiliary head."""
    other = {**tensors, "AuxLogits.conv0.conv.weight": np.zeros((128, 768, 1, 1)), "fc.bias": np.zeros(1000)}
    del other["Mixed_7c.branch_pool.bn.bias"]
    with pytest.raises(ValueError) as caught:
        InceptionV3(other)
    for words in (
        "1 missing: Mixed_7c.branch_pool.bn.bias",
        "1 left over: AuxLogits.conv0.conv.weight",
        "1 misshaped: fc.bias (1000,) for (1008,)",
        "pt_inception-2015-12-05-6726825d.pth",
    ):
        assert words in str(caught.value)
    with pytest.raises(ValueError, match="472 missing: Conv2d_1a_3x3"):
        fold({})


def test_other_images_and_resizes_are_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="'bicubic'; known are pytorch, tf1"):
        InceptionV3(tensors, "bicubic")
    with pytest.raises(ValueError, match=r"\(2, 8, 8, 1\)"):
        resized(np.zeros((2, 8, 8, 1), np.uint8), "tf1")
