"""Exact-in-the-limit log-likelihood of a model by the probability-flow ODE (Song et al. 2021, App. D.2)."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from samplers.guidance import ConditionalFn
from samplers.ode import draw_probes, solve_flow
from sde_lib import AffineSDE, Model


class LogLikelihood(NamedTuple):
    """What the flow says of each example.

    Attributes:
      nats: the log-density, which is NaN where the solve did not converge.
      latents: where the flow ends at t = 1.
      evaluations: how often the score was evaluated.
      converged: whether the tolerance was met.
    """

    nats: Float[Array, " b"]
    latents: Float[Array, "b *d"]
    evaluations: Int[Array, " b"]
    converged: Bool[Array, " b"]


def log_likelihood(
    sde: AffineSDE,
    model: Model | ConditionalFn,
    x: Float[Array, "b *d"],
    keys: Key[Array, " b"] | None = None,
    *,
    probe: str = "rademacher",
    probes: int = 1,
    condition: Any = None,
    slots: int = 0,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> LogLikelihood:
    """log p(x) = log p_prior(x(1)) + the integral of div v along the flow from t_min to 1 (eq. 39).

    x is taken as a point at t_min: the density is that of the samples of the flow ended there, and it approaches the
    data's as t_min and the tolerances go to 0. With a random probe the estimate is unbiased in nats and its spread
    falls with the number of `probes`; 'exact' costs d evaluations a step. Each example draws its probes from its
    own key. The latents are those of `samplers.encode`, and `samplers.decode` takes them back. `condition` and `slots`
    are those of `samplers.solve_flow`: with fewer slots than examples a finished one makes room for the next.

    Raises:
      ValueError: the probe is unknown, or random and without keys.
    """
    drawn = draw_probes(keys, x, probe, probes)
    told = {"probes": drawn, "condition": condition}
    flow = solve_flow(sde, model, x, sde.t_min, 1.0, **told, slots=slots, rtol=rtol, atol=atol)
    nats = sde.prior_log_prob(flow.x) + flow.delta_log_density
    nats = jnp.where(flow.converged, nats, jnp.nan)  # a solve that stopped on the way has a finite, wrong end
    return LogLikelihood(nats, flow.x, flow.evaluations, flow.converged)


def bits_per_dim(nats: Float[Array, " b"], dimensions: int | Float[Array, " b"], offset: float) -> Float[Array, " b"]:
    """-log2 p / d + offset, where d is the number of `dimensions` of an example, of all or of each.

    The offset turns the density of scaled, dequantised values into bits of the stored levels. `GreyLevels.bits_offset`
    gives it: log2 of the number of levels, less log2 of the range that they are scaled to.
    """
    return -jnp.asarray(nats) / (dimensions * math.log(2.0)) + offset
