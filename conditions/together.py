"""Several conditions at once, or none at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Key, Num

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class Together(Conditioner):
    """The entries of all `parts`, which are dropped together; without parts it tells nothing."""

    parts: tuple[Conditioner, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that any part reads."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.fields))

    @property
    def made_fields(self) -> tuple[str, ...]:  # type: ignore[override]
        """The fields that any part makes."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.made_fields))

    def make(self, x0: Num[Array, "b *d"]) -> dict[str, Array]:
        """The fields that every part makes."""
        return {name: field for part in self.parts for name, field in part.make(x0).items()}

    def of(self, fields: Mapping[str, Any]) -> "Together":
        """The parts that can be told of records with these fields, of which some may be None, as if they lacked them.

        Raises:
          ValueError: a field is missing that the network cannot do without.
        """
        lacking = {part: [name for name in part.fields if fields.get(name) is None] for part in self.parts}
        for part, missing in lacking.items():
            if part.needed and missing:
                raise ValueError(
                    f"the network needs the field {missing[0]!r} of each example, and none was given; "
                    f"given are {', '.join(sorted(fields)) or 'no fields'}"
                )
        return Together(tuple(part for part, missing in lacking.items() if not missing))

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The entries of every part."""
        return {name: entry for part in self.parts for name, entry in part.encode(batch, keys).items()}

    def none(self, condition: Condition) -> Condition:
        """Nothing of any part."""
        return {name: entry for part in self.parts for name, entry in part.none(condition).items()}
