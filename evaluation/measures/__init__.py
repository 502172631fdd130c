"""The measures of a test set, one a file: each gives numbers of every example, and its part of the report.

To add one, write a subclass of `Measure` in a new file and give it a line here; `eval.measures` then asks for it.
"""

from evaluation.measures.accuracy import Accuracy
from evaluation.measures.base import Measure, kind_of
from evaluation.measures.bits import Bits
from evaluation.measures.bound import ContinuousBound
from evaluation.measures.chain_bound import ChainBound
from experiment import Experiment

__all__ = ["MEASURES", "Measure", "chosen"]

MEASURES: dict[str, type[Measure]] = {
    "bits": Bits,
    "bound": ContinuousBound,
    "chain_bound": ChainBound,
    "accuracy": Accuracy,
}


def chosen(experiment: Experiment) -> list[type[Measure]]:
    """The measures that ``config.eval`` asks for, by `enable_bpd`, `enable_vlb` or `measures`; a classifier's accuracy.

    Raises:
      ValueError: `eval.measures` holds a name that is not known.
    """
    config, kind = experiment.config.eval, kind_of(experiment)
    unknown = [name for name in config.measures if name not in MEASURES]
    if unknown:
        raise ValueError(f"eval.measures has {unknown[0]!r}; known are {', '.join(MEASURES)}")
    bound = config.enable_vlb
    fields = {"bits": config.enable_bpd, "bound": bound, "chain_bound": bound, "accuracy": True}
    suited = [name for name, asked in fields.items() if asked and kind in MEASURES[name].kinds]
    return [each for name, each in MEASURES.items() if name in (*suited, *config.measures)]
