"""The curves of a run: one JSON line a record, and the same for TensorBoard."""

import json
from pathlib import Path

from experiment.workdir import write_text


class Records:
    """Appends to ``metrics.jsonl`` and ``tensorboard/``; what a killed run wrote beyond `start` is taken back."""

    def __init__(self, folder: Path, start: int):
        from tensorboardX import SummaryWriter  # slow to import

        self._file = folder / "metrics.jsonl"
        if self._file.exists():
            kept = [line for line in self._file.read_text(errors="replace").splitlines() if _step(line) <= start]
            write_text(self._file, "".join(f"{line}\n" for line in kept))
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def write(self, step: int, values: dict[str, float]) -> None:
        """One record of named numbers at a step."""
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush TensorBoard's file."""
        self._board.close()


def _step(line: str) -> float:
    """The step of a line; a line that a kill cut short, or that is damaged otherwise, belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
