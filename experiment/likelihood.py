"""The likelihood of stored examples by a run: dequantised, then followed to the prior by the probability flow."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from conditions import only_present
from conditions.present import PRESENT, share
from experiment.experiment import Experiment
from metrics.likelihood import bits_per_dim, log_likelihood
from sde_lib import Prediction
from sde_lib.bound import dequantized


def check(experiment: Experiment) -> None:
    """Refuse, with a ValueError, a model without a known flow: a consistency model, a generator, one of categories."""
    if experiment.of_categories:
        raise ValueError(
            f"model.name is {experiment.config.model.name!r}, of categories, which have no flow whose likelihood could "
            "be computed; set eval.enable_bpd to False and eval.enable_vlb to True, which measures their bound"
        )
    if experiment.generates:
        bound = "eval.enable_vlb=True measures its bound" if experiment.compresses else "it has no likelihood at all"
        raise ValueError(
            f"model.name is {experiment.config.model.name!r} and training.loss {experiment.config.training.loss!r}: a "
            f"generator has no flow whose likelihood could be computed; set eval.enable_bpd to False ({bound})"
        )
    if experiment.is_consistency_model:
        raise ValueError(
            f"training.loss is {experiment.config.training.loss!r} and model.preconditioning "
            f"{experiment.config.model.preconditioning!r}: a consistency model says where a path of the flow ends, not "
            "its velocity, and has no bits/dim; set eval.enable_bpd to False, or measure the diffusion model it is of"
        )


def bits(
    experiment: Experiment, variables: dict[str, Any], batch: dict[str, jax.Array], keys: Key[Array, " b"]
) -> dict[str, jax.Array]:
    """The bits/dim [b] of stored examples, the evaluations spent on each, and whether its solve met the tolerance.

    What an example gets depends on its own key alone: its dequantisation, and the probes of the divergence. Grey levels
    are dequantised as ``eval.bpd_dequantization`` says, whatever the training did, since without noise they have no
    density; their bits bound the code length of the stored levels. Bits of continuous data are differential; latents
    are drawn of their posterior, and their bits are those of the scaled latents, not of pictures. Of a set of points
    they are those of the points that there are, given their number, for each of their coordinates.

    Args:
      experiment: the run, whose ``config.eval`` has the tolerances and the probes.
      variables: its weights.
      batch: the data [b, ...] as they are stored, and what the network is told of them, by the names of their fields.
      keys: of the examples.
    """
    config, codec = experiment.config.eval, experiment.codec
    dequantize, probe = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    x: Any
    extra: Any
    sde, data, offset = experiment.process(variables), batch[codec.field], 0.0
    if codec.levels and config.bpd_dequantization == "process":
        centres = codec.pictures.centres()
        x0 = jnp.asarray(centres, np.float32)[data]
        eps = jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:], x0.dtype))(dequantize)
        x, extra = dequantized(sde, x0, eps, centres)
    elif codec.levels:
        uniform = dataclasses.replace(codec.pictures, dequantization="uniform")
        x, extra, offset = uniform.encode(data, dequantize), 0.0, uniform.bits_offset()
    else:
        x, extra = only_present(jnp.asarray(codec.encode(data, dequantize)), batch), 0.0

    def model(x: Array, t: Array, told: Any = None) -> Prediction:
        return experiment.predict_fn(variables, condition=told)(x, t)

    result = log_likelihood(
        sde,
        model,
        x,
        probe,
        condition=experiment.condition_of(batch),
        slots=config.bpd_slots,
        probe=config.bpd_probe,
        probes=config.bpd_probes,
        rtol=config.rtol,
        atol=config.atol,
    )
    dimensions: Any = int(np.prod(x.shape[1:]))
    nats = result.nats
    if PRESENT in batch:  # absent points stay at 0, where the density of the prior is that of their number
        there = share(batch[PRESENT]).astype(nats.dtype)
        nats, dimensions = nats - (1.0 - there) * sde.prior_log_prob(jnp.zeros_like(x)), there * dimensions
    found = bits_per_dim(nats, dimensions, offset) + extra
    return {"bits": found, "evaluations": result.evaluations, "converged": result.converged}
