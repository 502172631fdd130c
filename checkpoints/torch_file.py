"""Reads what torch.save and pickle wrote, without PyTorch and without running anything: tensors and plain data only.

A pickle is a program. The unpickler here knows the names that tensors, arrays and containers are made of, each replaced
by a function of this file; any other name ends the reading before it is looked up, so that nothing is imported or
called. A reader that looks for one thing among others may have unknown names stand for inert data instead. Read are
the zip archives of torch >= 1.6, the older files, and bare pickles that hold tensors (EDM's).
Storages in archives are mapped, not read: what nobody looks at takes no memory.
"""

import collections
import dataclasses
import io
import itertools
import mmap
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

import ml_dtypes
import numpy as np

STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("|i1"),
    "ByteStorage": np.dtype("|u1"),
    "BoolStorage": np.dtype("|b1"),
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PLAIN_KINDS = "biufcSU"  # of NumPy's dtypes: all but objects and records
CONTAINERS = ("ModuleDict", "ModuleList", "Sequential", "ParameterList", "ParameterDict")


class Refused(ValueError):
    """The file asks for more than tensors and plain data, or cannot be read; the message says what it asked for."""


class _CutShort(Refused):
    """The file ends too early; the message says where."""


@dataclasses.dataclass(eq=False)
class Persistent:
    """An object of a class whose source was pickled with it (NVlabs' torch_utils.persistence): its data, not run.

    `state` is the object's dictionary, of an nn.Module with `_parameters`, `_buffers` and `_modules`. Containers of
    torch.nn are given in the same form, and so is with `inert` what was made by any name that is not known.
    """

    module: str
    class_name: str
    state: dict[str, Any] = dataclasses.field(default_factory=dict)


def load(path: str | Path, *, inert: bool = False) -> Any:
    """The object saved at `path`, tensors as read-only NumPy arrays of their shape.

    Args:
      path: the file.
      inert: whether a name that is not known stands for a class of nothing but data, `Persistent`: what the file makes
        of it keeps the dictionary that it was given, and loses its arguments and items. The name is not looked up
        either way.

    Raises:
      Refused: a name that is not among the known ones, unless `inert`; or a damaged file.
      OSError: no such file.
    """
    with open(path, "rb") as file:
        try:
            archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _plain(_load_archive(file, inert) if archive else _load_stream(file, inert))
        except _CutShort as error:
            raise Refused(f"{path} is cut short: {error}; fetch it again") from None
        except Refused as error:
            raise Refused(f"{path} was refused, nothing in it was run: {error}") from None
        except OSError:
            raise
        except Exception as error:  # damage comes as any error of zipfile, pickle, struct or NumPy
            detail = " ".join(str(error).split())[:200]
            raise Refused(f"{path} cannot be read as a PyTorch file: {type(error).__name__}: {detail}") from None


def _load_archive(file: BinaryIO, inert: bool) -> Any:
    if not zipfile.is_zipfile(file):  # what lists the entries stands at its end
        size = file.seek(0, io.SEEK_END)
        raise _CutShort(f"an archive of torch.save ends with a list of its entries, and these {size} bytes do not")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused(f"a zip archive with {len(pickles)} entries named data.pkl; torch.save writes one")
        root = pickles[0].removesuffix("data.pkl")
        order = archive.read(f"{root}byteorder") if f"{root}byteorder" in entries else b"little"
        if order != b"little":
            raise Refused(f"numbers in byte order {order!r}; only little is read")

        def storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
            info = entries[f"{root}data/{key}"]
            if info.compress_type != zipfile.ZIP_STORED:
                return np.frombuffer(_inflate(archive, info), dtype, count)
            lengths = struct.unpack_from("<HH", mapped, info.header_offset + 26)
            start = info.header_offset + 30 + sum(lengths)
            if count * dtype.itemsize > info.file_size:
                raise Refused(f"storage {key} of {count} numbers is longer than its {info.file_size} bytes")
            return np.frombuffer(mapped, dtype, count, start)

        return _unpickled(io.BytesIO(_inflate(archive, entries[pickles[0]])), storage, inert)


def _load_stream(file: BinaryIO, inert: bool, *, nested: bool = False) -> Any:
    """A file of torch < 1.6 (five pickles, then the storages one after another), or else a single pickle."""
    begin = file.tell()
    length = file.seek(0, io.SEEK_END)
    file.seek(begin)
    first = _unpickled(file, _no_storage, inert)
    if not isinstance(first, int) or first != LEGACY_MAGIC:
        if nested:
            raise Refused("a tensor whose bytes are not a torch file")
        return first
    _unpickled(file, _no_storage)  # protocol version
    system = _unpickled(file, _no_storage)
    if not system.get("little_endian", True):
        raise Refused("numbers in byte order 'big'; only little is read")
    storages: dict[str, np.ndarray] = {}

    def storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
        if key not in storages:
            if count * dtype.itemsize > length:
                raise Refused(f"storage {key} of {count} numbers is longer than the file")
            storages[key] = np.empty(count, dtype)
        return storages[key]

    value = _unpickled(file, storage, inert)
    for key in _unpickled(file, _no_storage):
        head, array = file.read(8), storages[key]
        if len(head) == 8 and (count := struct.unpack("<q", head)[0]) != array.size:
            raise Refused(f"storage {key} of {array.size} numbers is said to hold {count}")
        if file.readinto(array.view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
            raise _CutShort(f"storage {key} has {array.nbytes} bytes, and the file ends within it")
    return value


def _no_storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
    raise Refused("a tensor outside a torch file")


class _Unpickler(pickle.Unpickler):
    """Knows the names in `_known` and nothing else; `storage(dtype, key, count)` finds the numbers of a tensor."""

    def __init__(self, file: BinaryIO, storage: Callable[[np.dtype, str, int], np.ndarray], inert: bool):
        super().__init__(file, encoding="latin1")
        self._storage = storage
        self._names, self._inert = _known(), inert

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a global; never an attribute of the module of that name."""
        if module == "torch" and name in STORAGES:
            return _StorageType(STORAGES[name])
        found = self._names.get((module, name))
        if found is None and self._inert:
            found = self._names[module, name] = _inert(module, name)
        if found is None:
            raise Refused(f"it names {module}.{name}, which is none of the tensors, arrays and containers known here")
        return found

    def persistent_load(self, pid: Any) -> np.ndarray:
        """A tensor's numbers, whatever device they were on."""
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise Refused(f"it refers to {str(pid)[:80]!r}, which is no tensor")
        _, kind, key, _device, count, *view = pid
        if not isinstance(kind, _StorageType) or not isinstance(count, int) or count < 0:
            raise Refused(f"storage {key!r} of type {kind!r} and {count!r} numbers")
        array = self._storage(kind.dtype, str(key), count)
        if view and view[0] is not None:
            _, offset, size = view[0]
            array = array[offset : offset + size]
        return array


def _unpickled(file: BinaryIO, storage: Callable[[np.dtype, str, int], np.ndarray], inert: bool = False) -> Any:
    _check_program(file)
    return _Unpickler(file, storage, inert).load()


@dataclasses.dataclass(frozen=True)
class _StorageType:
    dtype: np.dtype


def _known() -> dict[tuple[str, str], Any]:
    """The names that are known, with fresh stand-ins for each file: what one does to them, the next does not see."""
    # A new function a name: those of this file are never in a pickle's hands.
    known: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): lambda *args: collections.OrderedDict(*args),
        ("torch._utils", "_rebuild_tensor_v2"): lambda *args: _tensor(*args),
        ("torch._utils", "_rebuild_tensor"): lambda *args: _tensor(*args),
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
        ("torch.storage", "_load_from_bytes"): lambda data: _load_stream(io.BytesIO(data), False, nested=True),
        ("torch", "Size"): lambda *args: tuple(*args),
        ("torch", "device"): lambda *args: str(args[0]),
        ("_codecs", "encode"): lambda text, encoding: _encode(text, encoding),
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): lambda meta: _persistent(meta),
        ("dnnlib.util", "EasyDict"): type("EasyDict", (dict,), {}),
    }
    for builtins in ("builtins", "__builtin__"):
        known[builtins, "set"] = lambda *args: set(*args)
    for numpy in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known[numpy, "scalar"] = lambda kind, data: _array(kind, (), data)[()]
        known[numpy, "_reconstruct"] = lambda *_: _Array()
    known["numpy", "dtype"] = lambda *args: _DType(args[0])
    known["numpy", "ndarray"] = "numpy.ndarray"  # only ever handed to _reconstruct
    for name in CONTAINERS:
        known["torch.nn.modules.container", name] = _inert("torch.nn.modules.container", name)
    return known


def _inert(module: str, name: str) -> type:
    """A fresh class of data for a name of a pickle: its objects take whatever they are given, and keep a dictionary."""

    def new(kind: type, *args: Any, **options: Any) -> Persistent:
        made: Persistent = object.__new__(kind)
        Persistent.__init__(made, module, name)
        return made

    def fill(self: Persistent, state: Any) -> None:
        state = state[0] if isinstance(state, tuple) and len(state) == 2 else state  # the other half is of __slots__
        self.state = dict(state) if isinstance(state, dict) else {}

    def lose(self: Persistent, *args: Any, **options: Any) -> None:
        return None

    def again(self: Persistent, *args: Any, **options: Any) -> Persistent:
        return self

    items = dict.fromkeys(("__init__", "append", "extend", "add", "__setitem__"), lose)
    return type(name, (Persistent,), {"__new__": new, "__setstate__": fill, "__call__": again, **items})


def _tensor(
    storage: np.ndarray, offset: int, size: tuple, stride: tuple, grad: Any = False, hooks: Any = None, meta: Any = None
) -> np.ndarray:
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(size) != len(stride):
        raise Refused(f"a tensor of size {size!r} and stride {stride!r} over {type(storage).__name__}")
    if not all(isinstance(n, int) and n >= 0 for n in itertools.chain((offset,), size, stride)):
        raise Refused(f"a tensor at {offset!r} of size {size!r} and stride {stride!r}")
    end = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
    if 0 not in size and end > storage.size:
        raise Refused(f"a tensor of size {size} reaches beyond its storage of {storage.size} numbers")
    strides = [s * storage.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise Refused(f"bytes encoded as {encoding!r}; only latin1 is read")
    return text.encode("latin1")


class _DType:
    """A pickled numpy.dtype: its code, and its byte order from the state that follows."""

    def __init__(self, code: str):
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in PLAIN_KINDS:
            raise Refused(f"an array of {code!r}; only plain numbers and strings are read")

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _array(kind: Any, shape: tuple, data: bytes | str, *, order: Literal["C", "F"] = "C") -> np.ndarray:
    if not isinstance(kind, _DType):
        raise Refused(f"an array of type {kind!r}")
    data = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


class _Array:
    """A pickled numpy.ndarray, filled by the state that follows; `_plain` puts the array in its place."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _version, shape, kind, fortran, data = state
        self.value = _array(kind, shape, data, order="F" if fortran else "C")


def _persistent(meta: dict) -> Persistent:
    if meta.get("type") != "class":
        raise Refused(f"a persistent object of type {meta.get('type')!r}")
    return Persistent("persistence", str(meta["class_name"]), dict(meta["state"]))


def _plain(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """The same with arrays in the places of `_Array`; what is there twice is looked at once."""
    seen = {} if seen is None else seen
    if isinstance(value, _Array):
        return value.value
    if not isinstance(value, dict | list | tuple | Persistent):
        return value
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = value
    if isinstance(value, dict):
        for key in list(value):
            value[key] = _plain(value[key], seen)
    elif isinstance(value, list):
        value[:] = [_plain(item, seen) for item in value]
    elif type(value) is tuple:
        plain = tuple(_plain(item, seen) for item in value)
        seen[id(value)] = plain if any(new is not old for new, old in zip(plain, value, strict=True)) else value
        return seen[id(value)]
    elif isinstance(value, Persistent):
        _plain(value.state, seen)
    return value


def _check_program(file: BinaryIO) -> None:
    """Refuse a pickle that would make its reader set aside memory for things it never holds; the file is rewound."""
    begin = file.tell()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count + 1:
                raise Refused(f"a pickle that numbers its {count}th object {argument}")
    except (EOFError, ValueError) as error:
        if isinstance(error, Refused) or file.read(1):
            raise
        raise _CutShort(f"its {file.tell()} bytes end within a pickle") from None
    file.seek(begin)


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > 1000 * max(info.compress_size, 1024):
        raise Refused(f"an entry of {info.compress_size} bytes that grows to {info.file_size}")
    return archive.read(info)
