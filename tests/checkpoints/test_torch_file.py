"""Files written by PyTorch itself are read; files crafted to run code are refused, and nothing of them runs."""

import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from checkpoints import importing, torch_file

FILES = Path(__file__).parents[1] / "reference" / "torch_files"
EXPECTED = dict(np.load(FILES / "expected.npz"))
MARK = []


@pytest.mark.parametrize("name", ["archive.pth", "legacy.pth"])
def test_files_of_torch_hold_what_numpy_says(name):
    tree = torch_file.load(FILES / name)
    for key, expected in EXPECTED.items():
        if not key.startswith("edm/"):
            assert np.shape(tree[key]) == expected.shape
            np.testing.assert_array_equal(np.asarray(tree[key]).astype(expected.dtype), expected)
    assert tree["bfloat16"].dtype.name == "bfloat16" and tree["half"].dtype == np.float16
    assert tree["list"] == [1, 2.5, "x", None, (1, 2)] and tree["size"] == (4, 6)
    np.testing.assert_array_equal(tree["ordered"]["a"], [1, 1])


def test_edm_pickles_are_data_not_modules():
    tree = torch_file.load(FILES / "edm.pkl")
    found = {}

    def walk(module, prefix=""):
        for kind in ("_parameters", "_buffers"):
            found.update({prefix + name: value for name, value in module.state[kind].items()})
        for name, inner in module.state["_modules"].items():
            walk(inner, f"{prefix}{name}.")

    walk(tree["ema"])
    expected = {key.removeprefix("edm/"): value for key, value in EXPECTED.items() if key.startswith("edm/")}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert tree["ema"].class_name == "EDMPrecond" and tree["ema"].state["_init_kwargs"]["img_resolution"] == 32
    assert tree["dataset_kwargs"] == {"path": "x", "use_labels": False}


def test_arrays_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        torch_file.load(FILES / "archive.pth")["plain"][0] = 1


def ran(*args):
    """What a crafted file tries to reach."""
    MARK.append(args)
    return collections.OrderedDict()


class Reduces:
    def __init__(self, function, *args):
        self.how = function, args

    def __reduce__(self):
        return self.how


NAMED = f"c{__name__}\nran\n".encode()
PAYLOADS = {
    "reduce, protocol 2": pickle.dumps({"model": Reduces(ran, 1)}, 2),
    "reduce, protocol 4": pickle.dumps({"model": Reduces(ran, 1)}, 4),
    "eval": pickle.dumps(Reduces(eval, "MARK.append(1)"), 2),
    "getattr": pickle.dumps(Reduces(getattr, "x", "upper"), 2),
    "import": pickle.dumps(Reduces(__import__, "os"), 2),
    "global opcode": NAMED + b"(I1\ntR.",
    "inst opcode": b"(I1\ni" + NAMED[1:] + b".",
    "obj opcode": b"(" + NAMED + b"I1\no.",
    "newobj": b"\x80\x02" + NAMED + b")\x81.",
    "extension registry": b"\x80\x02\x82\x01.",
    "build of a function": b"\x80\x02" + NAMED + b"}b.",
    "dotted name": b"\x80\x04\x8c\x05torch\x8c\x0cstorage.open\x93)R.",
    "torch beside the known": b"\x80\x02ctorch\nload\n(X\x01\x00\x00\x00xtR.",
    "torch.hub": b"\x80\x02ctorch.hub\nload\n(X\x01\x00\x00\x00xtR.",
    "numpy beside the known": b"\x80\x02cnumpy\nload\n(X\x01\x00\x00\x00xtR.",
    "object array": pickle.dumps(np.array([Reduces(ran, 1)], dtype=object), 2),
    "array of objects, none inside": pickle.dumps(np.array([None], dtype=object), 2),
    "nested in a tensor's bytes": b"\x80\x02ctorch.storage\n_load_from_bytes\n"
    + pickle.dumps(pickle.dumps(Reduces(ran, 1), 2), 4)[2:-1].replace(b"\x94", b"")
    + b"\x85R.",
    "source of a persistent class": pickle.dumps({"x": 1}, 2)[:-1]
    + b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}(X\x04\x00\x00\x00typeX\x06\x00\x00\x00moduleu\x85R.",
}


def archive(data: bytes) -> bytes:
    """A zip archive as torch.save writes it around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x/data.pkl", data)
    return buffer.getvalue()


def legacy(data: bytes) -> bytes:
    """A file of torch < 1.6 around a pickle."""
    head = [torch_file.LEGACY_MAGIC, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(value, 2) for value in head) + data + pickle.dumps([], 2)


@pytest.mark.parametrize("wrap", [bytes, archive, legacy])
@pytest.mark.parametrize("name", PAYLOADS)
def test_crafted_files_are_refused_without_running(name, wrap, tmp_path, monkeypatch):
    import copyreg

    monkeypatch.setitem(copyreg._extension_registry, (__name__, "ran"), 1)
    monkeypatch.setitem(copyreg._inverted_registry, 1, (__name__, "ran"))
    path = tmp_path / "crafted.pth"
    path.write_bytes(wrap(PAYLOADS[name]))
    MARK.clear()
    with pytest.raises(torch_file.Refused, match="nothing in it was run") as caught:
        torch_file.load(path)
    assert MARK == [] and "\n" not in str(caught.value) and str(path) in str(caught.value)
    if name.startswith(("reduce", "global", "inst", "obj opcode", "newobj", "build", "extension")):
        assert f"{__name__}.ran" in str(caught.value), "it says what it refused"


@pytest.mark.parametrize("wrap", [bytes, archive, legacy])
@pytest.mark.parametrize("name", PAYLOADS)
def test_names_that_stand_for_inert_data_run_as_little(name, wrap, tmp_path, monkeypatch):
    import copyreg

    monkeypatch.setitem(copyreg._extension_registry, (__name__, "ran"), 1)
    monkeypatch.setitem(copyreg._inverted_registry, 1, (__name__, "ran"))
    path = tmp_path / "crafted.pth"
    path.write_bytes(wrap(PAYLOADS[name]))
    MARK.clear()
    try:
        torch_file.load(path, inert=True)
    except torch_file.Refused as error:
        assert "\n" not in str(error) and str(path) in str(error)
        assert not name.startswith(("reduce", "eval", "getattr", "import", "global", "inst", "obj opcode", "newobj"))
    assert MARK == []


class Sampler:
    """What a loss may hold: attributes, slots, a method of itself, items."""

    __slots__ = ("__dict__", "rate")

    def method(self):
        MARK.append(self)


class Items(list):
    pass


class Entries(dict):
    pass


def test_unknown_objects_keep_their_dictionary_alone(tmp_path):
    """Whatever protocol makes them; tensors and arrays beside them are as ever, and no class is looked up."""
    sampler = Sampler()
    sampler.rate, sampler.values, sampler.bound = 3, {"a": np.arange(3)}, sampler.method
    tree = {"sampler": sampler, "items": Items([1, 2]), "entries": Entries(a=1), "set": {sampler}, "kind": Sampler}
    path = tmp_path / "x.pkl"
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(tree, protocol))
        with pytest.raises(torch_file.Refused, match="it names"):
            torch_file.load(path)
        MARK.clear()
        found = torch_file.load(path, inert=True)
        made = found["sampler"]
        assert (made.module, made.class_name) == (__name__, "Sampler") and made.state.keys() == {"values", "bound"}
        np.testing.assert_array_equal(made.state["values"]["a"], [0, 1, 2])
        assert made.state["bound"].class_name == "getattr" and found["set"] == {made}
        for name in ("items", "entries"):
            assert isinstance(found[name], torch_file.Persistent) and found[name].state == {}
        assert not isinstance(found["kind"], Sampler) and MARK == []
    tree = torch_file.load(FILES / "edm.pkl", inert=True)
    assert tree["ema"].class_name == "EDMPrecond" and tree["dataset_kwargs"] == {"path": "x", "use_labels": False}


def test_the_payloads_would_run():
    """Each that names `ran` does run it under pickle itself: the refusals above are of something."""
    reached = 0
    for name, data in PAYLOADS.items():
        if __name__.encode() in data and not name.startswith(("extension", "object", "nested", "newobj", "build")):
            MARK.clear()
            _LocalUnpickler(io.BytesIO(data)).load()
            reached += len(MARK)
    assert reached >= 5


class _LocalUnpickler(pickle.Unpickler):
    """pickle's own behaviour, this module found under whatever name the tests were imported."""

    def find_class(self, module, name):
        return ran if (module, name) == (__name__, "ran") else super().find_class(module, name)


def tensor(size=(2,), stride=(1,), offset=0, count=4, kind="FloatStorage"):
    """A legacy file of one tensor with these numbers."""
    ints = lambda values: b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"  # noqa: E731
    pid = b"(X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    pid += b"J" + struct.pack("<i", count) + b"NtQ"
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"J" + struct.pack("<i", offset)
    body += ints(size) + ints(stride) + b"\x89NtR."
    head = [torch_file.LEGACY_MAGIC, 1001, {"little_endian": True}]
    numbers = np.arange(4, dtype="<f4").tobytes()
    return b"".join(pickle.dumps(v, 2) for v in head) + body + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + numbers


def test_tensors_stay_within_their_storage(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(tensor(offset=2))
    np.testing.assert_array_equal(torch_file.load(path), [2, 3])
    for wrong in (
        {"offset": 3},
        {"offset": -1},
        {"size": (3,), "stride": (2,)},
        {"size": (-1,)},
        {"stride": (-1,)},
        {"size": (2, 2)},
        {"count": 2**30},
        {"count": 3},
        {"count": -4},
        {"kind": "UntypedStorage"},
    ):
        path.write_bytes(tensor(**wrong))
        with pytest.raises(torch_file.Refused):
            torch_file.load(path)


@pytest.mark.parametrize("name", ["archive.pth", "legacy.pth", "edm.pkl"])
def test_every_cut_of_a_file_is_one_clear_line(name, tmp_path):
    data = (FILES / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(data) - 1, 37):
        path.write_bytes(data[:length])
        with pytest.raises(torch_file.Refused, match=rf"{name} is cut short: .*; fetch it again$") as caught:
            torch_file.load(path)
        assert "\n" not in str(caught.value)


def test_the_format_is_seen_from_the_file(tmp_path):
    assert importing.detect(FILES / "archive.pth") == importing.detect(FILES / "legacy.pth") == "score_sde_torch"
    assert importing.detect(FILES / "edm.pkl") == "edm"
    jax = FILES.parent / "score_sde" / "jax" / "ve_ncsnpp_cont" / "checkpoint_24"
    assert importing.detect(jax) == "score_sde_jax"
    for wrong in (tmp_path, FILES / "README.md"):
        with pytest.raises(ValueError, match=r"config\.json|none of the formats"):
            importing.detect(wrong)
    with pytest.raises(FileNotFoundError):
        importing.detect(tmp_path / "absent")


def test_what_is_there_twice_is_looked_at_once(tmp_path):
    """Sixty lists, each holding the one before twice: 2^60 of them to whoever walks a tree."""
    value: object = [1]
    pairs: object = (1,)
    for _ in range(60):
        value, pairs = [value, value], (pairs, pairs)
    path = tmp_path / "small.pkl"
    path.write_bytes(pickle.dumps({"lists": value, "tuples": pairs}, 2))
    assert path.stat().st_size < 2000
    found = torch_file.load(path)
    assert found["lists"][0] is found["lists"][1] and found["tuples"][0] is found["tuples"][1]


def test_arrays_inside_shared_containers_are_arrays(tmp_path):
    array = np.arange(3)
    inside = (array, [array])
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a": inside, "b": inside, "c": [inside]}, 2))
    found = torch_file.load(path)
    for value in (found["a"], found["b"], found["c"][0]):
        np.testing.assert_array_equal(value[0], array)
        np.testing.assert_array_equal(value[1][0], array)


@pytest.mark.parametrize("name", ["memo", "deflated pickle", "deflated storage"])
def test_small_files_do_not_take_large_memory(name, tmp_path):
    path = tmp_path / "x.pth"
    if name == "memo":
        path.write_bytes(b"\x80\x02}r\xff\xff\xff\x3f.")
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            program = pickle.dumps("x" * (64 if name == "deflated storage" else 2**26), 2)
            file.writestr("x/data.pkl", program)
        if name == "deflated storage":
            reference = b"(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
            reference += b"J" + struct.pack("<i", 2**26) + b"tQ"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("x/data.pkl", b"\x80\x02" + reference + b".")
                file.writestr("x/data/0", bytes(2**26))
    with pytest.raises(torch_file.Refused, match=r"numbers its|grows to"):
        torch_file.load(path)
