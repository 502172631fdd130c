"""Several conditions at once, or none at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Key

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class Together(Conditioner):
    """The entries of all `parts`, which are dropped together; without parts it tells nothing."""

    parts: tuple[Conditioner, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that any part reads."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.fields))

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The entries of every part."""
        return {name: entry for part in self.parts for name, entry in part.encode(batch, keys).items()}

    def none(self, condition: Condition) -> Condition:
        """Nothing of any part."""
        return {name: entry for part in self.parts for name, entry in part.none(condition).items()}
