"""The losses by name, and how ``config.training`` reaches their options.

A new loss is one new file with one class, and one line in `LOSSES`. The class is a frozen dataclass that derives from
`Loss`; its options are the fields ``name: Annotated[type, range] = default``, and those of `Times` or `Weighting` where
a field has one of these types.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from experiment.ranges import of_section
from limits import arguments, check_known, declared, nearest
from sde_lib import CategoricalProcess, NoiseLevels
from training.losses.adversarial import Adversarial
from training.losses.autoencoder import AutoencoderLoss
from training.losses.base import GreyLevels, Loss, Process
from training.losses.categorical import CategoricalBound, DiscreteFlow, ScoreEntropy
from training.losses.consistency import Consistency
from training.losses.continuous_consistency import ContinuousConsistency
from training.losses.contrastive import Contrastive
from training.losses.cross_entropy import CrossEntropy
from training.losses.denoising_score_matching import DenoisingScoreMatching
from training.losses.easy_consistency import EasyConsistency
from training.losses.flow_matching import FlowMatching
from training.losses.hybrid import Hybrid
from training.losses.improved_consistency import ImprovedConsistency
from training.losses.mean_flow import MeanFlow
from training.losses.progressive_distillation import ProgressiveDistillation
from training.losses.vae import VariationalAutoencoder
from training.losses.variational import Variational
from training.losses.vdm import VariationalDiffusion

LOSSES: dict[str, type[Loss]] = {
    "simple": DenoisingScoreMatching,
    "flow_matching": FlowMatching,
    "continuous_consistency": ContinuousConsistency,
    "progressive_distillation": ProgressiveDistillation,
    "consistency": Consistency,
    "improved_consistency": ImprovedConsistency,
    "easy_consistency": EasyConsistency,
    "mean_flow": MeanFlow,
    "hybrid": Hybrid,
    "variational": Variational,
    "vdm": VariationalDiffusion,
    "cross_entropy": CrossEntropy,
    "contrastive": Contrastive,
    "autoencoder": AutoencoderLoss,
    "vae": VariationalAutoencoder,
    "adversarial": Adversarial,
    "categorical": CategoricalBound,
    "score_entropy": ScoreEntropy,
    "discrete_flow": DiscreteFlow,
}


def create(name: str, process: Process | CategoricalProcess, grey_levels: GreyLevels = None, **options: Any) -> Loss:
    """Return the loss of that name: ``create("simple", VP(), weight="edm", P_mean=-1.2)``.

    Args:
      name: a name of `LOSSES`.
      process: what noises the data: an SDE, or its `NoiseLevels` in discrete training, or a chain over categories.
      grey_levels: the centres of all grey levels in x, where data are grey levels; None where they are continuous.
      options: options of the loss. One of another loss must have its default there, so that a whole section of a
        config can be given.

    Raises:
      ValueError: a name or an option is not known, an option is of another loss, out of its range, or contradicts
        another one; the message names the known ones.
    """
    if name not in LOSSES:
        raise ValueError(f"training.loss is {name!r}{nearest(name, LOSSES)}; known are {', '.join(LOSSES)}")
    kind, known, every = LOSSES[name], declared(LOSSES[name]), declared(*LOSSES.values())
    for option, value in options.items():
        if option in (*known, *kind.ignores) or (option in every and value == every[option].default):
            continue
        if option in every:
            owners = " and ".join(repr(loss) for loss, other in LOSSES.items() if option in declared(other))
            raise ValueError(
                f"training.{option} is {value!r} and training.loss {name!r}, which has no such option; it is one of "
                f"{owners}: leave it at {every[option].default!r}, or take another loss"
            )
        check_known(f"option of training.loss {name}", option, known)

    sde = process.sde if isinstance(process, NoiseLevels) else process
    if sde.parameters and not kind.trains_schedule:
        trainers = " or ".join(repr(loss) for loss, other in LOSSES.items() if other.trains_schedule)
        raise ValueError(
            f"sde.learned is True and training.loss {name!r}, which does not train a noise schedule; take {trainers}, "
            "or set sde.learned to False"
        )

    given = SimpleNamespace(**{option: default for option, (_, _, default) in known.items()} | options)
    noising: Any = process  # each loss says of which kind it must be
    return kind(noising, grey_levels, **arguments(kind, given))


OF_TRACKERS = "tracker_options"
"""This field of the section holds fields itself, each with a range of its own, and so has none."""


def of_config(
    section: Mapping[str, Any], process: Process | CategoricalProcess, grey_levels: GreyLevels = None
) -> Loss:
    """Return the loss that ``config.training`` names.

    Its options are the fields of the section by their own names; the other fields that every config has are the
    training's own. A key that a recipe has added must therefore be an option of its loss. A loss with a schedule over a
    whole training is told ``n_iters`` where ``total_steps`` is 0.

    Raises:
      ValueError: as `create` does.
    """
    shared = {*of_section("training"), OF_TRACKERS}.difference(declared(*LOSSES.values()))
    options = {name: value for name, value in section.items() if name not in shared}
    if section["loss"] in LOSSES and "total_steps" in declared(LOSSES[section["loss"]]):
        options["total_steps"] = options.get("total_steps") or section["n_iters"]
    return create(section["loss"], process, grey_levels, **options)
