"""LPIPS with VGG16 against the package's numbers, of a VGG16 that a rule fills and of the published heads."""

import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkpoints import safetensors_file
from configs import default
from experiment import perceptual
from models import lpips, vgg16
from tests import torch_writer

REFERENCE = Path(__file__).parents[1] / "reference" / "latent" / "lpips"
HEADS = REFERENCE / "lin_heads.safetensors"
RECORDED = np.load(REFERENCE / "io.npz")


def filled() -> dict[str, np.ndarray]:
    """The tensors of VGG16 by torchvision's names, filled by the rule of the README."""
    tensors = {}
    for name, shape in vgg16.layout().items():
        c = 2.0 * np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(shape) - 1.0
        scale = np.sqrt(6.0 / (shape[1] * 9)) if len(shape) == 4 else 0.1
        tensors[name] = (c * scale).astype(np.float32)
    return tensors


@pytest.fixture(scope="module")
def weights() -> dict[str, jax.Array]:
    found = vgg16.from_torch(filled()) | lpips.heads_from_torch(safetensors_file.load(HEADS))
    return jax.tree.map(jnp.asarray, found)


def images(name: str) -> jax.Array:
    return jnp.asarray(RECORDED[name].transpose(0, 2, 3, 1))


def test_the_rule_fills_what_it_filled_when_it_was_recorded(weights: dict) -> None:
    assert sum(leaf.size for name, leaf in weights.items() if name.startswith("features")) == 14_714_688
    first = np.asarray(weights["features.0.kernel"]).transpose(3, 2, 0, 1).reshape(-1)[:4]
    np.testing.assert_allclose(first, [0.072062939, 0.407940477, 0.079509333, -0.343945563], rtol=1e-6)
    sums = [float(jnp.sum(weights[lpips.head(stage)])) for stage in range(5)]
    np.testing.assert_allclose(sums, [6.925991535, 8.858334541, 17.515005112, 51.521324158, 47.034851074], rtol=1e-6)


def test_features_distances_and_their_gradient_are_the_packages(weights: dict) -> None:
    """The third pair is of equal images; `distance_unit_range` is of images in [0, 1]."""
    x, y = images("x"), images("y")

    @jax.jit
    def run(weights: dict, x: jax.Array, y: jax.Array) -> tuple:
        gradient = jax.grad(lambda y: jnp.sum(lpips.distance(weights, x, y)))(y)
        return lpips.by_stage(weights, x, y), gradient, [tap[:1, ..., :6] for tap in lpips.features(weights, x)]

    by_stage, gradient, taps = run(weights, x, y)
    np.testing.assert_allclose(by_stage, RECORDED["per_layer"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(by_stage.sum(axis=0), RECORDED["distance"].reshape(-1), rtol=0, atol=1e-6)
    expected = RECORDED["gradient_y"].transpose(0, 2, 3, 1)
    assert np.linalg.norm(gradient - expected) < 1e-4 * np.linalg.norm(expected)
    for tap, name in zip(taps, ("1_2", "2_2", "3_3", "4_3", "5_3"), strict=True):
        expected = RECORDED[f"features/relu{name}"].transpose(0, 2, 3, 1)
        assert np.all(np.abs(tap - expected) <= 2e-5 * np.maximum(1.0, np.abs(expected))), name


def test_positions_without_features_have_a_finite_gradient() -> None:
    """Where all features are 0 their norm has no derivative, and that of equal features is that of 0 / 0."""
    gradient = jax.grad(lambda x: jnp.sum(lpips.normalised(x) ** 2))(jnp.zeros((1, 1, 1, 3)))
    np.testing.assert_array_equal(gradient, 0.0)


def test_the_users_files_are_read(tmp_path: Path) -> None:
    """torchvision's file has a classifier as well, which is left out; heads are those of lpips or safetensors."""
    file, heads = tmp_path / "vgg16.pth", tmp_path / "vgg.pth"
    torch_writer.save(file, filled() | {"classifier.6.bias": np.zeros(1000, np.float32)})
    torch_writer.save(heads, dict(safetensors_file.load(HEADS)))
    config = default.get_config()
    assert perceptual.load(config) is None
    config.eval.vgg16, config.eval.lpips_heads = str(file), str(heads)
    found = perceptual.load(config)
    config.eval.lpips_heads = str(HEADS)
    other = perceptual.load(config)
    assert found and other and found.weights.keys() == other.weights.keys()
    assert found.digests["eval.vgg16"] == other.digests["eval.vgg16"]
    for name, array in found.weights.items():
        np.testing.assert_array_equal(array, other.weights[name], err_msg=name)


@pytest.mark.parametrize(
    ("vgg16_file", "heads", "named"),
    [
        ("", str(HEADS), r"eval.vgg16 is empty, and LPIPS needs eval.vgg16 and eval.lpips_heads; give vgg16-397923af"),
        (str(HEADS), str(HEADS), "eval.vgg16 is '.*': these are not the weights of VGG16: features.0.weight is absent"),
        ("nowhere.pth", str(HEADS), "eval.vgg16 is 'nowhere.pth'; there is no such file"),
    ],
)
def test_other_files_are_refused_in_one_line(vgg16_file: str, heads: str, named: str) -> None:
    config = default.get_config()
    config.eval.vgg16, config.eval.lpips_heads = vgg16_file, heads
    with pytest.raises((ValueError, OSError), match=named) as refusal:
        perceptual.load(config)
    assert "\n" not in str(refusal.value)
