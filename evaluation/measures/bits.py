"""bits/dim of the test set by the probability flow; each example has its own dequantisation noise and probes."""

from functools import partial
from typing import Any

import jax
import numpy as np

from evaluation.measures.base import Columns, Measure, bits_mean, bits_rows
from experiment import Experiment, likelihood
from experiment.placing import each_on_its_own


class Bits(Measure):
    """The mean over examples of the mean over `eval.bpd_repeats` dequantisations, and its error over examples."""

    name = "bits_per_dim"
    folder = "bits"
    what = "bits/dim"

    def __init__(self, experiment: Experiment):
        config, levels = experiment.config.eval, experiment.codec.levels
        super().__init__(
            experiment,
            config.bpd_max_examples,
            dequantization=config.bpd_dequantization if levels else "none",
            levels=levels,
            probe=config.bpd_probe,
            probes=config.bpd_probes,
            t_min=experiment.sde.t_min,
            rtol=config.rtol,
            atol=config.atol,
        )

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse a consistency model too."""
        super().check(experiment)
        likelihood.check(experiment)

    def keys(self, key: jax.Array) -> dict[str, jax.Array]:
        """Each dequantisation has rounds of its own."""
        repeats = range(self.experiment.config.eval.bpd_repeats)
        return {f"{self.folder}/repeat_{repeat}": jax.random.fold_in(key, repeat) for repeat in repeats}

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns bits, evaluations and converged [b]; devices integrate their own examples without waiting."""
        return each_on_its_own(partial(likelihood.bits, self.experiment), variables, batch, keys)

    def wrong(self, columns: Columns, examples: str) -> str | None:
        """Count the likelihoods that are not finite, and the solves that missed the tolerance."""
        wrong = ~np.isfinite(columns["bits"])
        if not wrong.any():
            return None
        return (
            f"log-likelihood not finite for {int(wrong.sum())} of {examples} ({int((~columns['converged']).sum())} "
            "solves did not converge); loosen eval.rtol and eval.atol, or take another checkpoint"
        )

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """The mean with its standard error, what it was measured with, and the evaluations that the solves took."""
        spent = columns["evaluations"]
        return {
            **bits_mean(columns["bits"].mean(axis=0, dtype=np.float64), self.experiment.codec),
            "examples": self.count,
            "repeats": len(spent),
            **self.settings,
            "evaluations": {"mean": float(spent.mean()), "max": int(spent.max())},
            "not_converged": int((~columns["converged"]).sum()),
        }

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "Likelihood"."""
        return [
            *bits_rows("Likelihood", part),
            f"Dequantisation: {part['dequantization']}, {part['levels'] or 'no'} levels, {part['repeats']} draw(s) an "
            f"example. Divergence: {part['probe']}, {part['probes']} probe(s). Flow from t = {part['t_min']:g} to 1, "
            f"rtol {part['rtol']:g}, atol {part['atol']:g}; evaluations mean {part['evaluations']['mean']:.1f}, "
            f"max {part['evaluations']['max']}. {part['not_converged']} solve(s) missed the tolerance.",
            "",
        ]
