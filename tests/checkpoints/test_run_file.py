"""A run in one file: it is what was saved, bit for bit, or it is refused in one line."""

import json
import struct
from pathlib import Path

import jax
import numpy as np
import pytest

from checkpoints import run_file, safetensors_file
from checkpoints.importing import detect, read
from models.functional import Network

NETWORK = Network.create("mlp", shape=(2,), width=4, depth=1)
CONFIG = {"seed": 3, "sampling": {"s_max": float("inf"), "grid_noise": [0.5]}}


@pytest.fixture(scope="module")
def variables() -> dict:
    return jax.device_get(NETWORK.init(jax.random.key(0)))


@pytest.fixture
def file(tmp_path: Path, variables: dict) -> Path:
    path = tmp_path / "run.safetensors"
    run_file.save(path, CONFIG, 1200, variables)
    return path


def test_all_of_it_comes_back_bit_for_bit(file: Path, variables: dict) -> None:
    found = run_file.load(file)
    assert (found.config, found.step) == (CONFIG, 1200)
    for part in ("params", "fixed"):
        assert found.variables[part].keys() == variables[part].keys()
        for name, array in variables[part].items():
            assert found.variables[part][name].dtype == array.dtype
            np.testing.assert_array_equal(found.variables[part][name], array)
    weights = read(file, NETWORK)
    assert detect(file) == detect(file, "ncsnpp") == "run_file" and weights.step == 1200
    assert weights.ema.keys() == weights.params.keys() == variables["params"].keys()


def test_any_change_of_its_bytes_is_noticed(file: Path) -> None:
    """One bit of a number, a digit of the step or of the config, and a name."""
    whole = file.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    places = {"number": 8 + length + 5, "step": whole.index(b"1200"), "seed": whole.index(b'\\"seed\\": 3') + 10}
    for place in places.values():
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run\.safetensors is damaged: .* its checksum; fetch it again") as error:
            run_file.load(file)
        assert "\n" not in str(error.value)
    file.write_bytes(whole.replace(b'"params/', b'"qarams/', 1))
    with pytest.raises(ValueError, match="is damaged"):
        run_file.load(file)
    for cut in (5, 8 + length // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"run\.safetensors .*(cut short|no safetensors)"):
            run_file.load(file)
    safetensors_file.save(file, {"x": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match=r"none that Run\.save writes"):
        run_file.load(file)
    assert not run_file.is_one(file) and not run_file.is_one(file.parent)
    text = json.dumps([1]).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match="it is a list"):
        run_file.load(file)


def test_weights_of_another_network_are_named(file: Path) -> None:
    with pytest.raises(
        ValueError, match=r"not hold the weights of this config's network; of another shape \(\d+\)"
    ) as error:
        read(file, Network.create("mlp", shape=(2,), width=8, depth=1))
    assert str(error.value).count("expected") == 3 and " more; choose the config" in str(error.value)
    with pytest.raises(ValueError, match=r"not in the file \(\d+\)"):
        read(file, Network.create("mlp", shape=(2,), width=4, depth=2))
