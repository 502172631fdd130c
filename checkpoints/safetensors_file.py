"""The safetensors format: eight bytes of header length, the header as JSON, the numbers of all tensors in a row.

Nothing in such a file can be executed. Arrays are mapped, not read: what nobody looks at takes no memory.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("|i1"),
    "U8": np.dtype("|u1"),
    "BOOL": np.dtype("|b1"),
}


def load(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, read-only.

    Raises:
      ValueError: a damaged file, or a type of number not known here.
      OSError: no such file.
    """
    header, length, size = _header(path)
    try:
        entries = {name: (e["dtype"], tuple(e["shape"]), *e["data_offsets"]) for name, e in _tensors(header)}
        end = max((int(stop) for *_, stop in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the header of {path} is no safetensors header: {error!r}") from None
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    if end > data.size:
        raise ValueError(
            f"{path} is cut short: it has {data.size} bytes of numbers, and its header names {end}; fetch it again"
        )
    tensors = {}
    for name, (dtype, shape, start, stop) in entries.items():
        if dtype not in DTYPES:
            raise ValueError(f"{name} in {path} has type {dtype!r}; known are {', '.join(DTYPES)}")
        if not 0 <= start <= stop <= data.size or stop - start != math.prod(shape) * DTYPES[dtype].itemsize:
            raise ValueError(f"{name} in {path}, {dtype} of shape {shape}, is said to be bytes {start} to {stop}")
        tensors[name] = np.asarray(data[start:stop]).view(DTYPES[dtype]).reshape(shape)
    return tensors


def metadata(path: str | Path) -> dict[str, str]:
    """The texts that a file carries beside its tensors, by name; raises what `load` does."""
    found = _header(path)[0].get("__metadata__", {})
    return found if isinstance(found, dict) else {}


def _header(path: str | Path) -> tuple[dict, int, int]:
    """The header of a file, its length in bytes, and the size of the file; ValueError where it is none."""
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        if length > size - 8:
            raise ValueError(f"{path} is no safetensors file, or is cut short; fetch it again")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header of {path} is no safetensors header: {error!r}") from None
    if not isinstance(header, dict):
        raise ValueError(f"the header of {path} is no safetensors header: it is a {type(header).__name__}")
    return header, length, size


def _tensors(header: dict) -> list[tuple[str, dict]]:
    return [(name, entry) for name, entry in header.items() if name != "__metadata__"]


def save(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors in the usual order: widest numbers first, then by name; the header's length is a multiple of 8.

    `metadata` are the texts that the file carries beside them; None: that the names are those of PyTorch.
    """
    codes = {dtype: code for code, dtype in DTYPES.items()}
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, dict] = {"__metadata__": {"format": "pt"} if metadata is None else dict(metadata)}
    stop = 0
    for name in order:
        start, stop = stop, stop + tensors[name].nbytes
        entry = {"dtype": codes[tensors[name].dtype], "shape": tensors[name].shape, "data_offsets": (start, stop)}
        header[name] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).tobytes())
