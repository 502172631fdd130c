"""Writes files as torch.save does, without PyTorch: opcodes of pickle by hand, tensors beside them in a zip archive."""

import collections
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"float16": "HalfStorage", "float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


def save(path: Path, tree: Any) -> None:
    """Nested dicts and lists of arrays, strings and numbers as a `.pth` of torch >= 1.6."""
    arrays: list[np.ndarray] = []
    program = b"\x80\x02" + _push(tree, arrays) + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for i, array in enumerate(arrays):
            archive.writestr(f"archive/data/{i}", memoryview(np.ascontiguousarray(array)).cast("B"))


def _push(value: Any, arrays: list[np.ndarray]) -> bytes:
    """The opcodes that push a value on the stack."""
    if isinstance(value, np.ndarray):
        return _tensor(value, arrays)
    if isinstance(value, collections.OrderedDict):  # a state dict, which carries attributes
        items = b"".join(_push(k, arrays) + _push(v, arrays) for k, v in value.items())
        return b"ccollections\nOrderedDict\n)R(" + items + b"u" + _push(vars(value), arrays) + b"b"
    if isinstance(value, dict):
        items = b"".join(_push(k, arrays) + _push(v, arrays) for k, v in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(_push(v, arrays) for v in value) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(_push(v, arrays) for v in value) + b"t"
    if isinstance(value, str):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    raise TypeError(f"no opcode here for {type(value).__name__}")


def _tensor(array: np.ndarray, arrays: list[np.ndarray]) -> bytes:
    key, strides = str(len(arrays)), tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
    arrays.append(array)
    storage = b"ctorch\n" + STORAGES[array.dtype.name].encode() + b"\n"
    reference = b"(" + _push("storage", arrays) + storage + _push(key, arrays) + _push("cpu", arrays)
    reference += _push(int(array.size), arrays) + b"tQ"
    rest = _push(0, arrays) + _push(tuple(array.shape), arrays) + _push(strides, arrays) + _push(False, arrays)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + rest + b"ccollections\nOrderedDict\n)RtR"
