"""The bounds of a variational autoencoder on the test set, in the bits/dim of the stored levels.

They are those of `autoencoders.bound`. A decoder that says probabilities of grey levels is asked of them as they are.
One that says a density is asked of uniformly dequantised ones, each with noise of its own, and the bits bound the code
length of the levels, as those of a diffusion model by its flow do (`GreyLevels.bits_offset`).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from autoencoders import GreyLevels
from autoencoders.bound import importance_weighted, log_weight
from autoencoders.posterior import Posterior
from data.source import take
from evaluation import ingredients
from evaluation.measures.base import Columns, Measure, bits_mean, bits_rows
from experiment import Experiment
from experiment.experiment import options_of
from limits import whole
from models.likelihoods import LIKELIHOODS, Likelihood
from models.materialize import network_jit

SCALE = "scale"
"""The collection that holds the logarithm of the scale, where that is the best one."""
MOST = 2000
"""The best scale is taken of so many training examples at most."""


class VAEBound(Measure):
    """The bound of Kingma and Welling with its two terms, and the importance-weighted bound of Burda et al.

    The first is the mean over so many samples of the posterior, of which the second is made as well. A scale that each
    example has the best of in training is here that of the training set, since a test example may not choose its own.
    """

    name = "variational_bound"
    folder = "vlb"
    what = "variational bound"
    kinds = ("vae",)

    def __init__(self, experiment: Experiment, samples: Annotated[int, whole(1, 100_000)] = 64):
        options = options_of(experiment.config)
        self.best, self.of_levels = options["scale"] == "optimal", LIKELIHOODS[options["likelihood"]].of_levels
        dequantization = "none" if self.of_levels else "uniform"
        pictures = experiment.codec.pictures
        self.codec: GreyLevels = dataclasses.replace(pictures, dequantization=dequantization)
        likelihood = {name: options[name] for name in ("likelihood", "scale")}
        most = experiment.config.eval.vlb_max_examples
        super().__init__(experiment, most, samples=samples, **likelihood, dequantization=dequantization)

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse also a Bernoulli of more than two levels, which is no likelihood of them."""
        super().check(experiment)
        name, levels = options_of(experiment.config)["likelihood"], experiment.codec.levels
        if name == "bernoulli" and levels != 2:
            raise ValueError(
                f"model.likelihood is 'bernoulli', and the data have {levels} grey levels, of which it is no "
                "likelihood; set eval.enable_vlb to False, or train with 'continuous_bernoulli' or "
                "'discretised_logistic'"
            )

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns nll, kl and importance [b], in bits/dim; the first two add up to the bound."""
        x, noise = self._encoded(batch[self.experiment.codec.field], keys)
        module, k = self._module(variables), self.settings["samples"]
        posterior = Posterior.of_moments(module.encode(x))
        mean = jnp.asarray(posterior.mean)

        def at(j: Array) -> tuple[Array, Array]:
            eps = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, j), mean.shape[1:]))(noise)
            z = posterior.sample(eps)
            nll = jnp.sum(self._said(module, z, variables).nll(x), axis=(1, 2, 3))
            return nll, log_weight(posterior, z, nll)

        nll, weights = jax.lax.map(at, jnp.arange(k))
        unit, offset = math.log(2.0) * math.prod(x.shape[1:]), 0.0 if self.of_levels else self.codec.bits_offset()
        return {
            "nll": jnp.mean(nll, axis=0) / unit + offset,
            "kl": posterior.kl() / unit,
            "importance": offset - importance_weighted(weights) / unit,
        }

    def prepared(self, variables: dict) -> dict:
        """Beside the weights the best scale of the training set, where the decoder has none of its own."""
        if not self.best:
            return variables
        experiment, total, count = self.experiment, 0.0, 0
        size = experiment.config.eval.batch_size
        square: Callable[..., Array] = network_jit(self._mean_square, experiment.network.dtype)
        for first in range(0, min(MOST, len(experiment.encoded.train)), size):
            index = np.arange(first, min(first + size, len(experiment.encoded.train), MOST))
            keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), index)
            data = take(experiment.encoded.train, index)[experiment.codec.field]
            total += float(jnp.sum(square(variables, jnp.asarray(data), keys)))
            count += len(index)
        return variables | {SCALE: {"log_scale": jnp.asarray(0.5 * math.log(total / count), jnp.float32)}}

    def about(self, weights: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        """What the columns depend on: where the scale is of the training set, that and how much of it is taken too."""
        if not self.best:
            return super().about(weights, key)
        of_scale = ingredients.of_examples(self.experiment, "train") | {"most": MOST}
        return super().about(weights, key) | {"of_scale": of_scale}

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """Both bounds with their standard errors, and the terms of the first."""
        each = {name: column[0].astype(np.float64) for name, column in columns.items()}
        codec = self.experiment.codec
        return {
            **bits_mean(each["nll"] + each["kl"], codec),
            "nll": float(each["nll"].mean()),
            "kl": float(each["kl"].mean()),
            "importance_weighted": bits_mean(each["importance"], codec),
            "examples": self.count,
            "settings": self.settings,
        }

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "Variational bound" of a part that is this bound's."""
        if "importance_weighted" not in part:
            return []
        settings, tighter = part["settings"], part["importance_weighted"]
        scale = "" if settings["scale"] == "none" else f", scale {settings['scale']}"
        return [
            *bits_rows("Variational bound", part, "nll", "kl"),
            f"Importance-weighted with {settings['samples']} samples of the posterior: **{tighter['mean']:.4f} +- "
            f"{tighter['standard_error']:.4f} {tighter['unit']}**. Decoder: {settings['likelihood']}{scale}. "
            f"Dequantisation: {settings['dequantization']}.",
            "",
        ]

    def _module(self, variables: dict) -> Any:
        return self.experiment.network.module({name: variables[name] for name in ("params", "fixed")})

    def _encoded(self, data: Array, keys: Array) -> tuple[Array, Array]:
        """The x of stored levels, and the keys of the posteriors' noise."""
        dequantize, noise = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        return jnp.asarray(self.codec.encode(data, dequantize)), noise

    def _said(self, module: Any, z: Array, variables: dict) -> Likelihood:
        """p(x | z), with the best scale where that is asked for and known."""
        said = module.likelihood(z)
        return dataclasses.replace(said, log_scale=variables[SCALE]["log_scale"]) if SCALE in variables else said

    def _mean_square(self, variables: dict, data: Array, keys: Array) -> Array:
        """The mean squared error [b] of reconstructions from a sample of the posterior."""
        x, noise = self._encoded(data, keys)
        module = self._module(variables)
        posterior = Posterior.of_moments(module.encode(x))
        eps = jax.vmap(lambda key: jax.random.normal(key, posterior.mean.shape[1:]))(noise)
        return jnp.mean(jnp.square(x - module.likelihood(posterior.sample(eps)).location), axis=(1, 2, 3))
