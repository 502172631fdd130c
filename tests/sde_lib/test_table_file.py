"""A chain's betas from a file: the numbers of either form, and one line for what is none."""

import io
from pathlib import Path

import numpy as np
import pytest

import sde_lib

BETAS = (0.01, 0.02, 0.3)


def _create(path: Path) -> sde_lib.Discrete:
    return sde_lib.create("discrete", schedule="table", betas=str(path))


def test_both_forms_hold_the_same_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "betas.npy", np.array(BETAS))
    (tmp_path / "betas.txt").write_text("\n".join(map(str, BETAS)))
    for name in ("betas.npy", "betas.txt"):
        assert _create(tmp_path / name).schedule.betas == BETAS


def _claims(shape: tuple[int, ...]) -> bytes:
    """An array that claims that shape, and little of it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(800)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("betas.npy", _claims((10**12,)), "cannot be read as numbers"),
        ("betas.npy", _claims((10**12, 10**12)), "cannot be read as numbers"),
        ("betas.npy", _claims((10, 10)), r"shape \(10, 10\)"),
        ("betas.npy", _claims((3,))[:90], "cannot be read as numbers"),
        ("betas.npy", b"", "cannot be read as numbers"),
        ("betas.npy", b"PK\x05\x06" + bytes(18), "no array of numbers"),
        ("betas.txt", b"0.1\nmany\n", "cannot be read as numbers"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"sde\.betas: .*{name} .*{says}") as caught:
        _create(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_text_in_an_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "betas.npy", np.array(["0.1", "0.2"]))
    with pytest.raises(ValueError, match="no array of numbers"):
        _create(tmp_path / "betas.npy")
