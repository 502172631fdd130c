"""The variational bound of the test set in continuous time (Kingma et al. 2021)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evaluation.measures.base import Columns, Measure, bits_of_terms, bits_rows, encoded
from experiment import Experiment
from metrics.chain_bound import normal_noise
from sde_lib.bound import Bound, bound_times, diffusion_bits, prior_bits, reconstruction_bits


class ContinuousBound(Measure):
    """The bound's three terms, means over the test set, and the ends of the noise schedule.

    The diffusion term is the mean over `eval.vlb_times` times, evenly spread behind a random one, each with its own
    noise; it takes one network evaluation for each time.
    """

    name = "variational_bound"
    folder = "vlb"
    what = "variational bound"
    kinds = ("continuous",)

    def __init__(self, experiment: Experiment):
        config = experiment.config.eval
        decoder = "softmax" if experiment.codec.levels else "density"
        super().__init__(experiment, config.vlb_max_examples, times=config.vlb_times, decoder=decoder)

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns diffusion, prior and reconstruction [b], in bits/dim."""
        experiment, n = self.experiment, self.settings["times"]
        codec, sde = experiment.codec, experiment.process(variables)
        levels, data = codec.pictures.centres() if codec.levels else None, batch[codec.field]
        x0 = encoded(codec, data, keys) if levels is None else jnp.asarray(levels, np.float32)[data]
        predict = experiment.predict_fn(variables, condition=experiment.condition_of(batch))

        noise, start = normal_noise(keys, x0), jax.vmap(jax.random.uniform)(keys)

        def at(i: jax.Array) -> jax.Array:
            return diffusion_bits(sde, predict, x0, bound_times(sde, (start + i / n) % 1.0), noise(i))

        diffusion = jnp.mean(jax.lax.map(at, jnp.arange(n)), axis=0)
        return Bound(diffusion, prior_bits(sde, x0), reconstruction_bits(sde, x0, noise(n), levels))._asdict()

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """The bound with its standard error, its terms, and log SNR at both ends of the process."""
        sde = self.experiment.process(variables)
        return {
            **bits_of_terms(columns, self.experiment.codec),
            "log_snr": [float(sde.log_snr(jnp.asarray(t))) for t in (sde.t_min, 1.0)],
            "examples": self.count,
            "settings": self.settings,
        }

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "Variational bound" of a part that is this bound's."""
        if "log_snr" not in part:
            return []
        return [
            *bits_rows("Variational bound", part, "diffusion", "prior", "reconstruction"),
            f"Continuous time, {part['settings']['times']} times an example, {part['settings']['decoder']} decoder; "
            f"log SNR from {part['log_snr'][0]:.2f} to {part['log_snr'][1]:.2f}.",
            "",
        ]
