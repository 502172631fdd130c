"""The page as one file: template, style and program, and a payload whose arrays are packed into text.

An array is zlib's of its numbers in C order, little endian, in base64; the browser unpacks it. What is infinite is
null, for which JSON has no number. Nothing in the page leads to a network, and a policy in its head forbids it.
"""

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from experiment.writing import replacing

FOLDER = Path(__file__).parent
TITLE, STYLE, PROGRAM, DATA = "{{title}}", "{{style}}", "{{program}}", "{{payload}}"


def html(payload: dict[str, Any]) -> str:
    """The whole page."""
    text = (FOLDER / "visualizer.html").read_text(encoding="utf-8")
    parts = {
        TITLE: _escaped(payload["title"]),
        STYLE: (FOLDER / "visualizer.css").read_text(encoding="utf-8"),
        PROGRAM: (FOLDER / "visualizer.js").read_text(encoding="utf-8"),
        DATA: json.dumps(plain(payload), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    for place, part in parts.items():  # the payload last: nothing within it is taken for a place
        text = text.replace(place, part, 1)
    return text


def write(path: Path, payload: dict[str, Any]) -> None:
    """Write the page; a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(html(payload).encode())


def plain(value: Any) -> Any:
    """A payload as JSON has it: arrays packed, what is not finite as None."""
    if isinstance(value, np.ndarray):
        return packed(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def packed(array: np.ndarray) -> dict[str, Any]:
    """An array of uint8, uint16 or float32 as text, with its type and its shape."""
    numbers = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    text = base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": text}


def unpacked(value: dict[str, Any]) -> np.ndarray:
    """The array that was packed."""
    numbers = zlib.decompress(base64.b64decode(value["base64"]))
    return np.frombuffer(numbers, np.dtype(value["dtype"]).newbyteorder("<")).reshape(value["shape"])


def payload_of(text: str) -> dict[str, Any]:
    """The payload of a page, with its arrays packed as they are."""
    begin = '<script type="application/json" id="payload">'
    found: dict[str, Any] = json.loads(text.split(begin, 1)[1].split("</script>", 1)[0])
    return found


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
