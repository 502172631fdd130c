"""FID of pictures that are there already: the same whatever holds them, of no run, or refused in one line."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main
from configs import default
from evaluation import features
from experiment import Failure, Refusal
from metrics import sample_set
from metrics.fid import moments
from metrics.inception import Features

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 6, 8, 3)).astype(np.uint8)
PROJECTION = np.random.default_rng(1).normal(size=(6 * 8 * 3, 2048)).astype(np.float32) / 100


class Inception:
    """A linear map of the pixels in Inception's place."""

    sha256, resize = "abc", "pytorch"

    def __call__(self, images: np.ndarray) -> Features:
        pool = np.asarray(images, np.float32).reshape(len(images), -1) @ PROJECTION
        return Features(pool, pool[:, :1008], pool[:, :2023])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "load_inception", lambda path, resize, expected: Inception())
    # the roots of covariances of 2048 numbers take seconds; test_fid.py has the distance itself
    monkeypatch.setattr(sample_set, "frechet_distance", lambda a, b: float(((a.mean - b.mean) ** 2).sum()))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Statistics of the inverted pictures."""
    pool, _, spatial = Inception()(255 - PICTURES)
    path = tmp_path_factory.mktemp("stats") / "stats.npz"
    np.savez(path, mu=pool.mean(0), sigma=moments(pool).covariance, mu_s=spatial.mean(0), sigma_s=np.eye(2023))
    return path


def config(reference: Path | str):
    config = default.get_config()
    config.eval.update(inception="weights.pth", reference_stats=str(reference), inception_batch_size=5)
    return config


def files(folder: Path, pictures: np.ndarray = PICTURES, suffix: str = "png") -> Path:
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:03d}.{suffix}")
    return folder


def held(kind: str, tmp_path: Path) -> Path:
    """The pictures in a folder, a zip file, or an array under one of the names in use."""
    if kind == "folder":
        return files(tmp_path / "pictures" / "deep").parent
    path = tmp_path / f"pictures.{'zip' if kind == 'zip' else 'npz'}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files(tmp_path / "loose").iterdir():
                archive.write(file, f"00000/{file.name}")
    elif kind == "floats":
        np.savez_compressed(path, samples=PICTURES.astype(np.float32))
    else:
        np.savez(path, **{kind: PICTURES})
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "arr_0", "samples", "floats"])
def test_the_numbers_are_those_of_the_pictures(kind: str, reference: Path, tmp_path: Path, capsys) -> None:
    path = held(kind, tmp_path)
    main.run("evaluate", config(reference), str(tmp_path / "out"), str(path))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    expected = (PICTURES.astype(float) - (255.0 - PICTURES)).reshape(12, -1).mean(0) @ PROJECTION
    assert report["inception"]["fid"] == pytest.approx((expected**2).sum(), rel=1e-4)
    assert report["inception"]["sfid"] == pytest.approx((expected[:2023] ** 2).sum(), rel=1e-4)
    assert report["pictures"]["count"] == 12 and report["pictures"]["size"] == [6, 8]
    assert report["inception"]["label"].startswith("FID-12 (not comparable")
    text = (tmp_path / "out" / "report.md").read_text()
    assert text == capsys.readouterr().out.rstrip("\n") + "\n" and f"{report['inception']['fid']:.4f}" in text
    assert "12 pictures of 6 x 8 pixels" in text and "stats.npz" in text


def test_an_array_of_few_grey_levels_is_stretched(reference: Path, tmp_path: Path) -> None:
    """As this project writes samples of 17 levels: 0 to 16 are black to white."""
    levels = (PICTURES // 16).astype(np.uint8)
    np.savez(tmp_path / "of_levels.npz", samples=levels, levels=17)
    np.savez(tmp_path / "of_bytes.npz", samples=np.rint(levels * (255 / 16)).astype(np.uint8))
    found = []
    for name in ("of_levels", "of_bytes"):
        main.run("evaluate", config(reference), str(tmp_path / name), str(tmp_path / f"{name}.npz"))
        found.append(json.loads((tmp_path / name / "report.json").read_text())["inception"]["fid"])
    assert found[0] == found[1]


def _cut(path: Path) -> Path:
    """An .npz whose array says that it is longer than it is."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("arr_0.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 8, 8, 3)}
        )
        stream.write(bytes(1000))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "absent", "there is no such file or folder"),
        (lambda p: files(p / "few", PICTURES[:3]), "holds 3 pictures; the Inception Score needs 10"),
        (
            lambda p: files(files(p / "two") / "more", PICTURES[:, :4, :4]).parent,
            r"several sizes, 000\.png of 6 x 8 and more/000\.png of 4 x 4",
        ),
        (
            lambda p: (np.savez(p / "x.npz", images=PICTURES), p / "x.npz")[1],
            "holds no samples and no arr_0; it has im",
        ),
        (lambda p: (np.savez(p / "x.npz", PICTURES[..., 0]), p / "x.npz")[1], r"arr_0 of .* is uint8 \(12, 6, 8\)"),
        (lambda p: (np.savez(p / "x.npz", PICTURES.astype(int)), p / "x.npz")[1], "is int64"),
        (lambda p: ((p / "x.npz").write_bytes(b"text"), p / "x.npz")[1], "is not an .npz of pictures"),
        (lambda p: ((p / "x.txt").write_bytes(b"text"), p / "x.txt")[1], "a folder of pictures, a .zip of them, or"),
        (lambda p: ((p / "x.zip").write_bytes(b"text"), p / "x.zip")[1], "not a zip file"),
        (lambda p: p, "no image file"),
        (
            lambda p: (np.savez(p / "x.npz", samples=PICTURES, levels=17), p / "x.npz")[1],
            "says that it has 17 grey levels, which are uint8 of at most 16, and holds uint8 up to 25",
        ),
        (
            lambda p: (np.savez(p / "x.npz", samples=PICTURES / 255, levels=17), p / "x.npz")[1],
            "says that it has 17 grey levels, which are uint8 of at most 16, and holds float64",
        ),
        (lambda p: _cut(p / "x.npz"), "arr_0 ends after 0 of 1000000000 rows"),
        (
            lambda p: (np.savez(p / "x.npz", PICTURES.astype(np.float32) / 255), p / "x.npz")[1],
            r"float images must lie in 0\.\.255",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(make, message: str, reference: Path, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises((Refusal, Failure), match=message) as refusal:
        main.run("evaluate", config(reference), str(tmp_path / "out"), str(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_that_is_damaged_inside_is_named(suffix: str, reference: Path, tmp_path: Path) -> None:
    """Where it is seen by its header alone, as of a JPEG, when it is reached."""
    folder = files(tmp_path / "pictures", suffix=suffix)
    damaged = folder / f"007.{suffix}"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises((Refusal, Failure), match=rf"007\.{suffix} cannot be read"):
        main.run("evaluate", config(reference), str(tmp_path / "out"), str(folder))


def test_the_statistics_and_the_network_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = files(tmp_path / "pictures")
    with pytest.raises(Refusal, match=r"eval\.reference_stats is empty"):
        main.run("evaluate", config(""), str(tmp_path / "out"), str(folder))
    monkeypatch.undo()
    without = default.get_config()
    without.eval.reference_stats = "stats.npz"
    with pytest.raises(Refusal, match=r"eval\.inception is empty; FID and its family need"):
        main.run("evaluate", without, str(tmp_path / "out"), str(folder))
