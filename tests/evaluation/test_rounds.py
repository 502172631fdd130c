"""Rounds on disk: shared, found again, set aside when they are of something else."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evaluation import npz
from evaluation.rounds import Rounds


def _fill(rounds: Rounds) -> list[int]:
    missing = rounds.missing()
    for i in missing:
        first = i * rounds.size
        rounds.write(i, value=np.arange(first, first + rounds.real(i)))
    return missing


def test_rounds_cover_every_example_once(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path / "r", {"seed": 0}, 10, 4)
    assert _fill(rounds) == [0, 1, 2] and len(rounds) == 3
    np.testing.assert_array_equal(rounds.column("value"), np.arange(10))
    assert [len(round_["value"]) for round_ in rounds] == [4, 4, 2]


def test_what_is_there_is_not_computed_again(tmp_path: Path) -> None:
    _fill(Rounds(tmp_path / "r", {"seed": 0}, 10, 4))
    assert Rounds(tmp_path / "r", {"seed": 0}, 10, 4).missing() == []
    assert Rounds(tmp_path / "r", {"seed": 0}, 6, 4).missing() == []
    np.testing.assert_array_equal(Rounds(tmp_path / "r", {"seed": 0}, 6, 4).column("value"), np.arange(6))
    more = Rounds(tmp_path / "r", {"seed": 0}, 15, 4)
    assert _fill(more) == [2, 3], "the last round of the smaller evaluation is short"
    np.testing.assert_array_equal(more.column("value"), np.arange(15))


def test_rounds_of_something_else_are_set_aside(tmp_path: Path) -> None:
    _fill(Rounds(tmp_path / "r", {"seed": 0}, 10, 4))
    for about, size in (({"seed": 1}, 4), ({"seed": 0}, 5)):
        assert Rounds(tmp_path / "r", about, 10, size).missing() == [0, 1, 2][: -(-10 // size)]
    assert (tmp_path / "r.1" / "round_00002.npz").exists() and (tmp_path / "r.2").exists()


def test_a_damaged_round_is_computed_again(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path / "r", {}, 10, 4)
    _fill(rounds)
    path = tmp_path / "r" / "round_00001.npz"
    path.write_bytes(path.read_bytes()[:-30])
    (tmp_path / "r" / ".round_00002.77.npz").write_bytes(b"half")  # what a killed writer leaves
    assert Rounds(tmp_path / "r", {}, 10, 4).missing() == [1]


def _claims(path: Path, shape: tuple[int, ...], kind: str, packing: int) -> None:
    """A round whose only array claims that shape, of which there is little."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("value.npy", header.getvalue() + bytes(1000))


@pytest.mark.parametrize("shape", [(10**12,), (4, 10**11), (4, 10**30), ()])
def test_a_round_that_claims_more_than_it_holds_is_computed_again(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rounds = Rounds(tmp_path / "r", {}, 10, 4)
    _fill(rounds)
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _claims(tmp_path / "r" / "round_00001.npz", shape, "<f8", packing)
        assert _fill(Rounds(tmp_path / "r", {}, 10, 4)) == [1]
    np.testing.assert_array_equal(rounds.column("value"), np.arange(10))


def test_a_packed_round_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Rounds writes is not packed, so that a packed one is another's, however large."""
    rounds = Rounds(tmp_path / "r", {}, 10, 4)
    _fill(rounds)
    np.savez_compressed(tmp_path / "r" / "round_00001.npz", value=np.zeros((4, 100_000)))
    unread = npz.read
    monkeypatch.setattr(npz, "read", lambda path, names: unread(path, names) if "00001" not in str(path) else 1 / 0)
    assert rounds.missing() == [1]


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_processes_share_the_rounds(processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.rounds.barrier", lambda name: None)
    monkeypatch.setattr("jax.process_count", lambda: processes)
    shares = []
    for process in range(processes):
        monkeypatch.setattr("jax.process_index", lambda process=process: process)
        shares += _fill(Rounds(tmp_path / "r", {}, 10, 2))
    assert sorted(shares) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(Rounds(tmp_path / "r", {}, 10, 2).column("value"), np.arange(10))
