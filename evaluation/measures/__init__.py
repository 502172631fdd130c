"""The measures of a test set, one a file: each gives numbers of every example, and its part of the report.

To add one, write a subclass of `Measure` in a new file and give it a line here; `eval.measures` then asks for it. Its
options are the parameters ``name: Annotated[type, range] = default`` of its constructor, and `eval.measure_options`
sets them: ``{"NAME": {"option": value}}``.
"""

from typing import Any

from evaluation.measures.accuracy import Accuracy
from evaluation.measures.base import Measure, kind_of
from evaluation.measures.bits import Bits
from evaluation.measures.bound import ContinuousBound
from evaluation.measures.categorical_bound import CategoricalBound
from evaluation.measures.chain_bound import ChainBound
from evaluation.measures.matching import Matching
from evaluation.measures.reconstruction import Reconstruction
from evaluation.measures.reconstruction_fid import ReconstructionFID
from evaluation.measures.vae_bound import VAEBound
from experiment import Experiment
from limits import check_known, check_named, declared, nearest

__all__ = ["MEASURES", "Measure", "chosen", "create"]

MEASURES: dict[str, type[Measure]] = {
    "bits": Bits,
    "bound": ContinuousBound,
    "chain_bound": ChainBound,
    "accuracy": Accuracy,
    "matching": Matching,
    "reconstruction": Reconstruction,
    "reconstruction_fid": ReconstructionFID,
    "categorical_bound": CategoricalBound,
    "vae_bound": VAEBound,
}


def chosen(experiment: Experiment) -> dict[str, type[Measure]]:
    """The measures that ``config.eval`` asks for, by `enable_bpd`, `enable_vlb` or `measures`.

    Those of a classifier, a CLIP and an autoencoder, of which there is no choice, are among them; rFID where there is
    `inception`.

    Raises:
      ValueError: `eval.measures` holds a name that is not known, or `eval.measure_options` one that is not known or
        not asked for, an option that the measure lacks, or a value outside its range.
    """
    config, kind = experiment.config.eval, kind_of(experiment)
    unknown = [name for name in config.measures if name not in MEASURES]
    if unknown:
        raise ValueError(
            f"eval.measures has {unknown[0]!r}{nearest(unknown[0], MEASURES)}; known are {', '.join(MEASURES)}"
        )
    fields = {"bits": config.enable_bpd, "accuracy": True, "matching": True}
    fields |= dict.fromkeys(("bound", "chain_bound", "categorical_bound", "vae_bound"), config.enable_vlb)
    fields |= {"reconstruction": True, "reconstruction_fid": bool(config.inception)}
    suited = [name for name, asked in fields.items() if asked and kind in MEASURES[name].kinds]
    found = {name: each for name, each in MEASURES.items() if name in (*suited, *config.measures)}
    for name, options in config.measure_options.to_dict().items():
        check_known("measure in eval.measure_options", name, MEASURES)
        if name not in found:
            raise ValueError(
                f"eval.measure_options has {name!r}, and measured are {', '.join(found) or 'none'}; add it to "
                "eval.measures, or leave its options out"
            )
        check_named("eval.measure_options", name, options, found[name])
    return found


def create(experiment: Experiment) -> list[Measure]:
    """Make the measures that are `chosen`; the options of each, given or by default, count among its settings."""
    found = []
    for name, kind in chosen(experiment).items():
        defaults: dict[str, Any] = {option: each.default for option, each in declared(kind).items()}
        options = defaults | experiment.config.eval.measure_options.to_dict().get(name, {})
        measure = kind(experiment, **options)
        measure.settings = options | measure.settings
        found.append(measure)
    return found
