"""The variational bound of the test set over categories: bits a number, or a character of a text."""

from typing import Any

import jax
import numpy as np

from evaluation.measures.base import Columns, Measure, bits_of_terms, bits_rows
from experiment import Experiment
from metrics.categorical_bound import categorical_bound
from sde_lib.bound import Bound


class CategoricalBound(Measure):
    """The bound with its terms, means over the test set.

    The diffusion term is a mean over `eval.vlb_times` times, evenly spread behind a random one; with as many as a chain
    has levels it is their exact sum but for the noise. One network evaluation for each time.
    """

    name = "variational_bound"
    folder = "vlb"
    what = "variational bound"
    kinds = ("categorical",)

    def __init__(self, experiment: Experiment):
        config = experiment.config.eval
        super().__init__(experiment, config.vlb_max_examples, times=config.vlb_times)

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns diffusion, prior and reconstruction [b], in bits for each number."""
        experiment = self.experiment
        process: Any = experiment.sde
        belief = experiment.belief_fn(variables, condition=experiment.condition_of(batch))
        x0: Any = experiment.codec.encode(batch[experiment.codec.field])
        return categorical_bound(process, belief, x0, keys, self.settings["times"])._asdict()

    def wrong(self, columns: Columns, examples: str) -> str | None:
        """Also what an infinite prior means: a chain that masks, and has not masked all at t = 1."""
        if not np.isfinite(columns["prior"]).all():
            return (
                "the bound is infinite: the process has not masked all of the data at t = 1, and what it masks from is "
                "masks alone; set sde.eps to 0, or take a schedule that ends in masks"
            )
        return super().wrong(columns, examples)

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """The bound with its standard error and its terms."""
        return {
            **bits_of_terms(columns, self.experiment.codec),
            "num_levels": self.experiment.sde.num_levels,
            "examples": self.count,
            "settings": self.settings,
        }

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "Variational bound" of a part that is this bound's."""
        if "num_levels" not in part:
            return []
        levels = f"A chain of {part['num_levels']} levels" if part["num_levels"] else "Continuous time"
        return [
            *bits_rows("Variational bound", part, *Bound._fields),
            f"{levels} over categories, {part['settings']['times']} times an example.",
            "",
        ]
