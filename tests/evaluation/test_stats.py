"""Reference statistics: of all images, with what they were computed with, and refused beside another network."""

import contextlib
import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import samplers
from autoencoders.grey_levels import GreyLevels
from configs.vp import toy_mixture8_mlp
from data import Arrays, Source
from evaluation import npz, statistics_file
from evaluation.features import extract
from evaluation.stats import check, compute_statistics, current, load_statistics
from experiment import Experiment
from experiment.workdir import Workdir
from metrics.fid import moments
from metrics.inception import Features
from models.functional import Network
from sde_lib import VP

PROJECTION = np.random.default_rng(1).normal(size=(4 * 4 * 3, 2048)).astype(np.float32)


class Inception:
    """A linear map of the pixels in Inception's place."""

    sha256, resize = "abc", "pytorch"

    def __call__(self, images: np.ndarray) -> Features:
        pool = images.reshape(len(images), -1).astype(np.float32) @ PROJECTION
        return Features(pool, pool[:, :1008], pool[:, :2023])


def _inception(**fields: str) -> Inception:
    network = Inception()
    vars(network).update(fields)
    return network


def _experiment(shape: tuple[int, ...] = (4, 4, 1), levels: int | None = 17, **fields: object) -> Experiment:
    train = np.random.default_rng(0).integers(0, levels or 2, (37, *shape)).astype(np.uint8)
    config = toy_mixture8_mlp.get_config()
    config.data.dataset = "tfds:levels"
    config.eval.update({"batch_size": 10, "stats_features": 12, **fields})
    source = Source("levels", Arrays({"image": train}), Arrays({"image": train[:20]}), shape=shape, levels=levels)
    codec = GreyLevels(levels, centered=True, dequantization="uniform")
    network = Network.create("mlp", shape=shape, width=4, depth=1)
    return Experiment(config, VP(), source, codec, network, samplers.Settings())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    experiment = _experiment()
    return experiment, compute_statistics(experiment, Workdir(tmp_path_factory.mktemp("run")), Inception())


def _shown(experiment: Experiment, split: str = "train") -> np.ndarray:
    """What Inception should see: 17 levels stretched over 0..255, three times."""
    levels = getattr(experiment.source, split).arrays["image"]
    return np.round(levels * (255 / 16)).astype(np.uint8).repeat(3, axis=-1)


def test_statistics_are_those_of_every_image(written: tuple[Experiment, Path]) -> None:
    """37 in batches of 10 on eight devices; 12 of them kept, each one of the set, in no order, no two the same."""
    experiment, path = written
    assert path.name == "tfds_levels_train_pytorch_abc.npz" and path.parent.name == "stats"
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no temporary file stays"
    found, pool = load_statistics(path, Inception()), np.asarray(Inception()(_shown(experiment)).pool)
    known = moments(pool)
    assert found.pool.count == found.spatial.count == 37
    np.testing.assert_allclose(found.pool.mean, known.mean, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.pool.covariance, known.covariance, rtol=1e-4, atol=1.0)
    np.testing.assert_allclose(found.spatial.covariance, found.pool.covariance[:2023, :2023], rtol=0, atol=1e-6)
    near = ((found.features[:, None] - pool[None]) ** 2).sum(-1)
    places = near.argmin(axis=1)
    assert near.min(axis=1).max() < 1e-2 and len(set(places)) == 12 and (np.diff(places) < 0).any()
    assert found.features.dtype == np.float32
    known = {"inception_sha256": "abc", "resize": "pytorch", "dataset": "tfds:levels", "split": "train"}
    known |= {"shape": [4, 4, 1], "images": 37, "features": 12}
    assert found.about.items() >= known.items() and found.about["data"]["dataset"] == "tfds:levels"


def test_other_tools_can_read_the_file(written: tuple[Experiment, Path]) -> None:
    with np.load(written[1]) as archive:
        assert archive["mu"].shape == (2048,) and archive["sigma"].shape == (2048, 2048)
        assert archive["mu_s"].shape == (2023,) and archive["sigma"].dtype == np.float64


@pytest.mark.parametrize(("field", "value"), [("resize", "tf1"), ("sha256", "def")])
def test_another_network_or_resize_is_refused(written: tuple[Experiment, Path], field: str, value: str) -> None:
    other = Inception()
    setattr(other, field, value)
    with pytest.raises(ValueError, match=f"were made with .* but .* is {value}; .*--mode=stats") as caught:
        load_statistics(written[1], other)
    assert "\n" not in str(caught.value)


def test_statistics_of_other_data_are_not_current(written: tuple[Experiment, Path]) -> None:
    experiment, path = written
    assert current(path, experiment, Inception())
    for section, field, value in (("eval", "stats_features", 13), ("data", "dataset", "tfds:others")):
        other = dataclasses.replace(experiment, config=ConfigDict(experiment.config.to_dict()))
        other.config[section][field] = value
        assert not current(path, other, Inception())
    assert not current(path.with_name("absent.npz"), experiment, Inception())
    assert not current(path, experiment, _inception(sha256="def"))
    assert not current(path, experiment, _inception(resize="tf1"))


def test_statistics_belong_to_the_pictures_and_not_to_their_place(written: tuple[Experiment, Path]) -> None:
    """One level of one picture, the names and numbers being the same; then the same pictures elsewhere."""
    experiment, path = written
    source = experiment.source
    image = source.train.arrays["image"].copy()
    image[7, 0, 0, 0] ^= 1
    changed = dataclasses.replace(source, train=Arrays({"image": image}))
    assert not current(path, dataclasses.replace(experiment, source=changed), Inception())
    changed = dataclasses.replace(source, test=Arrays({"image": image}))
    assert current(path, dataclasses.replace(experiment, source=changed), Inception()), "they are of the other set"
    moved = dataclasses.replace(experiment, config=ConfigDict(experiment.config.to_dict()))
    with moved.config.unlocked():
        moved.config.data.update(data_dir="elsewhere", random_flip=True)
    assert current(path, moved, Inception())


def test_every_process_finds_the_statistics_current(
    written: tuple[Experiment, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that thought otherwise would wait for ever for the others to compute with it."""
    experiment, path = written
    monkeypatch.setattr("jax.process_index", lambda: 1)
    train = Arrays(dict(experiment.source.train.arrays))
    again = dataclasses.replace(experiment, source=dataclasses.replace(experiment.source, train=train))
    assert current(path, again, Inception()), "a fingerprint of its own"


def test_statistics_of_pictures_that_were_changed_are_computed_anew(tmp_path: Path) -> None:
    """Also the rounds of a killed computation, which would be of both."""
    experiment, known = _experiment(), []
    for level in (0, 16):
        image = np.full((37, 4, 4, 1), level, np.uint8)
        image[:, 0, 0, 0] = np.arange(37) % 17
        source = dataclasses.replace(experiment.source, train=Arrays({"image": image}))
        changed = dataclasses.replace(experiment, source=source)

        class Killed(Inception):
            calls = 0

            def __call__(self, images: np.ndarray) -> Features:
                Killed.calls += 1
                if Killed.calls == 3 and not known:
                    raise KeyboardInterrupt
                return super().__call__(images)

        with contextlib.suppress(KeyboardInterrupt):
            path = compute_statistics(changed, Workdir(tmp_path), Killed())
            found = load_statistics(path, Inception())
            pool = np.asarray(Inception()(_shown(changed)).pool)
            np.testing.assert_allclose(found.pool.mean, moments(pool).mean, rtol=1e-5, atol=1e-3)
        known.append(level)
    assert Killed.calls == 4


def test_a_killed_computation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its third round: the first two are not computed again, and the statistics are the same."""
    experiment = _experiment()
    whole = compute_statistics(experiment, Workdir(tmp_path / "whole"), Inception())

    class Killed(Inception):
        calls = 0

        def __call__(self, images: np.ndarray) -> Features:
            Killed.calls += 1
            if Killed.calls == 3:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        compute_statistics(experiment, Workdir(tmp_path / "killed"), Killed())
    Killed.calls = 3
    again = compute_statistics(experiment, Workdir(tmp_path / "killed"), Killed())
    assert Killed.calls == 3 + 2, "of four rounds two were there"
    for name, value in np.load(whole).items():
        np.testing.assert_array_equal(np.load(again)[name], value)


def test_the_test_split_and_earlier_files(tmp_path: Path) -> None:
    experiment = _experiment(stats_split="test", stats_features=100)
    for _ in range(2):
        path = compute_statistics(experiment, Workdir(tmp_path), Inception())
    assert {file.name for file in path.parent.iterdir()} == {
        "tfds_levels_test_pytorch_abc.npz",
        "tfds_levels_test_pytorch_abc.1.npz",
    }
    found = load_statistics(path, Inception())
    assert found.pool.count == 20 and len(found.features) == 20 and found.about["split"] == "test"
    direct = extract(Inception(), _shown(experiment, "test"), 20)
    np.testing.assert_allclose(found.pool.mean, direct.pool_moments.mean, rtol=1e-6, atol=1e-4)


def test_public_statistics(tmp_path: Path) -> None:
    """pytorch-fid and EDM: mu and sigma; guided-diffusion: also mu_s and sigma_s. None says with which network."""
    arrays = {"mu": np.zeros(2048), "sigma": np.eye(2048), "mu_s": np.zeros(2023), "sigma_s": np.eye(2023)}
    np.savez(tmp_path / "public.npz", mu=arrays["mu"], sigma=arrays["sigma"])
    found = load_statistics(tmp_path / "public.npz", Inception())
    assert found.pool.count == 0 and found.spatial is None and found.features is None
    assert found.about["inception_sha256"] == found.about["resize"] == "not recorded"
    np.savez(tmp_path / "adm.npz", **arrays)
    assert load_statistics(tmp_path / "adm.npz", Inception()).spatial.mean.shape == (2023,)


def test_the_ancestors_file_of_features_is_statistics(tmp_path: Path) -> None:
    """score_sde's cifar10_stats.npz holds pool_3 alone: moments for FID, vectors for KID, precision and recall."""
    random = np.random.default_rng(0)
    real = random.normal(size=(60, 2048)).astype(np.float32)
    np.savez(tmp_path / "cifar10_stats.npz", pool_3=real)
    found = load_statistics(tmp_path / "cifar10_stats.npz", Inception())
    np.testing.assert_allclose(found.pool.mean, real.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.pool.covariance, np.cov(real.astype(np.float64), rowvar=False), atol=1e-9)
    assert found.pool.count == 60 and found.spatial is None and found.about["dataset"] == "cifar10_stats.npz"
    assert sorted(map(tuple, found.features[:, :2])) == sorted(map(tuple, real[:, :2])), "all of them, each once"
    assert (found.features != real).any(), "in random order"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (
            {"pool_3": np.zeros((5, 64), np.float32)},
            r"pool_3 of float32 and shape \(5, 64\); floats of shape \(n, 2048\)",
        ),
        ({"pool_3": np.full((3, 2048), np.inf, np.float32)}, r"statistics that are not finite \(pool_3\)"),
        ({"pool_3": np.zeros((5, 2048), np.uint8)}, "pool_3 of uint8"),
        ({"arr_0": np.zeros(3)}, "no mu and no sigma; it has arr_0"),
        ({"mu": np.zeros(64), "sigma": np.eye(64)}, r"\(64,\).*\(2048,\)"),
        ({"mu": np.full(2048, np.nan), "sigma": np.eye(2048)}, "not finite"),
        ({"mu": np.array([None]), "sigma": np.eye(2)}, r"mu of object and shape \(1,\); floats of shape \(2048,\)"),
        (
            {"mu": np.zeros(2048), "sigma": np.eye(2048), "about": np.array('{"resize": ')},
            r"other\.npz is damaged: .*'about'",
        ),
        ({"mu": np.zeros(2048), "sigma": np.eye(2048), "about": np.array("3")}, r"other\.npz is damaged: .*'about'"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=says):
        load_statistics(tmp_path / "other.npz", Inception())


def _header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    """The beginning of an array that claims to be of that shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "shape", "kind", "says"),
    [
        ("mu", (10**12,), "<f8", r"mu of float64 and shape \(1000000000000,\); floats of shape \(2048,\) are needed"),
        ("sigma", (2048, 10**9), "<f8", r"floats of shape \(2048, 2048\)"),
        ("sigma_s", (32768, 16384), "<f8", r"floats of shape \(2023, 2023\)"),
        ("features", (12, 2047), "<f4", r"features of float32 and shape \(12, 2047\); floats of shape \(n, 2048\)"),
        ("features", (12,), "<f4", r"\(n, 2048\)"),
        ("features", (12, 2048), "<i8", "floats of shape"),
        (
            "features",
            (500_000, 2048),
            "<f4",
            r"\(500000, 2048\), 3906 MiB, packed into 0\.0 MiB; these are",
        ),
        ("pool_3", (500_000, 2048), "<f4", "these are no features"),
        ("count", (3,), "<i8", r"an integer of shape \(\)"),
        ("about", (), "<U300000000", r"about of 1200000000 bytes; it is at most 1048576"),
    ],
)
def test_arrays_are_refused_by_their_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shape: tuple[int, ...], kind: str, says: str
) -> None:
    """Before a number is read, whatever it would expand to."""
    monkeypatch.setattr(npz, "read", lambda *_: pytest.fail("it was read"))
    arrays = {"mu": _header((2048,)), "sigma": _header((2048, 2048))}
    arrays |= {"mu_s": _header((2023,)), "sigma_s": _header((2023, 2023)), name: _header(shape, kind)}
    with zipfile.ZipFile(tmp_path / "large.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for each, start in arrays.items():
            archive.writestr(f"{each}.npy", start + bytes(1000))
    with pytest.raises(ValueError, match=says) as caught:
        load_statistics(tmp_path / "large.npz", Inception())
    assert "\n" not in str(caught.value) and "large.npz" in str(caught.value)
    assert not current(tmp_path / "large.npz", _experiment(), Inception())


def test_images_beside_public_statistics_are_not_read(tmp_path: Path) -> None:
    """guided-diffusion's files hold ten thousand of them; a claim of more than there is memory does not matter."""
    np.savez(tmp_path / "adm.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    with zipfile.ZipFile(tmp_path / "adm.npz", "a") as archive:
        archive.writestr("arr_0.npy", _header((10**12, 256, 256, 3), "|u1"))
    assert load_statistics(tmp_path / "adm.npz", Inception()).pool.mean.shape == (2048,)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"features": np.full((5, 2048), np.inf, np.float32)}, r"not finite \(features\)"),
        ({"mu_s": np.zeros(2023)}, "one of mu_s and sigma_s"),
    ],
)
def test_contents_that_contradict_themselves_are_refused(tmp_path: Path, arrays: dict, says: str) -> None:
    np.savez(tmp_path / "other.npz", mu=np.zeros(2048), sigma=np.eye(2048), **arrays)
    with pytest.raises(ValueError, match=says):
        load_statistics(tmp_path / "other.npz", Inception())


@pytest.mark.parametrize("content", [b"text", b"", b"PK\x03\x04broken", b"\x93NUMPY"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"not an \.npz of statistics"):
        load_statistics(tmp_path / "other.npz", Inception())
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"not an \.npz of statistics"):
        load_statistics(tmp_path / "array.npy", Inception())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": (2,), "levels": None}, r"are of grey or RGB images; the examples of 'levels' are \(2,\)"),
        ({"shape": (4, 4, 2)}, r"\(4, 4, 2\)"),
        ({"shape": (4, 4, 3), "levels": None}, "without grey levels"),
    ],
)
def test_what_has_no_statistics_is_refused_at_once(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check(_experiment(**options))


@pytest.mark.parametrize("sigma", [-np.eye(2048), np.triu(np.ones((2048, 2048)))], ids=["negative", "asymmetric"])
def test_a_matrix_that_is_no_covariance_is_refused(sigma: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "statistics.npz", mu=np.zeros(2048), sigma=sigma)
    with pytest.raises(ValueError, match="which is no covariance"):
        statistics_file.contents(tmp_path / "statistics.npz")
