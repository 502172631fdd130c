"""Reads the zip archives torch.save writes, without torch and without running anything pickled in them."""

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


def _tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> np.ndarray:
    flat = storage[offset:]
    if any(n and (n - 1) * s >= flat.size for n, s in zip(size, stride, strict=True)):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    strides = [s * flat.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(flat, size, strides, writeable=False).copy()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}; only latin1 is read")
    return text.encode("latin1")


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype, count=1)[0]


ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"refused: {module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        kind, dtype, key, _location, count = pid  # whatever device it was on
        if kind != "storage":
            raise pickle.UnpicklingError(f"refused: persistent id {kind!r}")
        return np.frombuffer(self.archive.read(f"{self.root}/data/{key}"), dtype, count=count)


def load(path: str | Path) -> Any:
    """The object saved at `path`, tensors as NumPy arrays; pickle.UnpicklingError for anything but plain data."""
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("/data.pkl")
        return _Unpickler(archive, root).load()
