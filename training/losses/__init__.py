"""The losses by name, and how ``config.training`` reaches their options.

A new loss is one new file with one class, and one line in `LOSSES`. The class is a frozen dataclass that derives from
`Loss`; its fields are its options. A field of the type `Times` or `Weighting` brings the options of that part.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from experiment.ranges import of_section
from sde_lib import Levels
from training.losses.base import GreyLevels, Loss, Process
from training.losses.cross_entropy import CrossEntropy
from training.losses.denoising_score_matching import DenoisingScoreMatching
from training.losses.hybrid import Hybrid
from training.losses.variational import Variational
from training.losses.vdm import VariationalDiffusion

__all__ = ["LOSSES", "Loss", "create", "of_config", "options_of"]

LOSSES: dict[str, type[Loss]] = {
    "simple": DenoisingScoreMatching,
    "hybrid": Hybrid,
    "variational": Variational,
    "vdm": VariationalDiffusion,
    "cross_entropy": CrossEntropy,
}


def _own(kind: type) -> list[dataclasses.Field]:
    """The fields of a loss that are options, or parts with options."""
    return [field for field in dataclasses.fields(kind) if field.name not in ("process", "grey_levels")]


def _part(field: dataclasses.Field) -> type | None:
    """The class of a field that is a part with options of its own."""
    return field.type if isinstance(field.type, type) and dataclasses.is_dataclass(field.type) else None


def options_of(kind: type) -> dict[str, Any]:
    """Return the options of a loss and of its parts by name, each with its default."""
    found: dict[str, Any] = {}
    for field in _own(kind):
        part = _part(field)
        found |= options_of(part) if part else {field.name: field.default}
    return found


def create(name: str, process: Process, grey_levels: GreyLevels = None, **options: Any) -> Loss:
    """Return the loss of that name: ``create("simple", VP(), weight="edm", P_mean=-1.2)``.

    Args:
      name: a name of `LOSSES`.
      process: what noises the data: an SDE, or its `Levels` in discrete training.
      grey_levels: the centres of all grey levels in x, where data are grey levels; None where they are continuous.
      options: options of the loss. One of another loss must have its default there, so that a whole section of a
        config can be given.

    Raises:
      ValueError: a name or an option is not known, an option is of another loss, out of its range, or contradicts
        another one; the message names the known ones.
    """
    if name not in LOSSES:
        raise ValueError(f"training.loss is {name!r}; known are {', '.join(LOSSES)}")
    known: dict[str, Any] = options_of(LOSSES[name])
    others: dict[str, Any] = {}
    for kind in LOSSES.values():
        others |= options_of(kind)
    for option, value in options.items():
        if option in known or option in LOSSES[name].ignores or (option in others and value == others[option]):
            continue
        if option in others:
            owners = " and ".join(repr(loss) for loss, kind in LOSSES.items() if option in options_of(kind))
            raise ValueError(
                f"training.{option} is {value!r} and training.loss {name!r}, which has no such option; it is one of "
                f"{owners}: leave it at {others[option]!r}, or take another loss"
            )
        near = difflib.get_close_matches(option, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"training.{option}{hint} is no option of training.loss {name!r}; known are {', '.join(known)}"
        )

    sde = process.sde if isinstance(process, Levels) else process
    if sde.parameters and not LOSSES[name].trains_schedule:
        trainers = " or ".join(repr(loss) for loss, kind in LOSSES.items() if kind.trains_schedule)
        raise ValueError(
            f"sde.learned is True and training.loss {name!r}, which does not train a noise schedule; take {trainers}, "
            "or set sde.learned to False"
        )

    def make(kind: type, *given: Any) -> Any:
        parts = {f.name: make(part) for f in _own(kind) if (part := _part(f))}
        own = {f.name: options[f.name] for f in _own(kind) if f.name in options}
        return kind(*given, **parts, **own)

    return make(LOSSES[name], process, grey_levels)


def of_config(section: Mapping[str, Any], process: Process, grey_levels: GreyLevels = None) -> Loss:
    """Return the loss that ``config.training`` names.

    Its options are the fields of the section by their own names; the other fields that every config has are the
    training's own. A key that a recipe has added must therefore be an option of its loss.

    Raises:
      ValueError: as `create` does.
    """
    shared = set(of_section("training")).difference(*(options_of(kind) for kind in LOSSES.values()))
    options = {name: value for name, value in section.items() if name not in shared}
    return create(section["loss"], process, grey_levels, **options)
