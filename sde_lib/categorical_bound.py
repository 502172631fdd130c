"""The terms of the variational bound over categories, in nats at each position.

A chain of levels has the bound of every diffusion (Austin et al. 2021, arXiv:2107.03006, eq. 1),

    -log p(x_0) <= KL(q(x_1 | x_0) || prior)  +  sum over levels of E KL(q(x_s | x_t, x_0) || p(x_s | x_t))
                   +  E -log p(x_0 | x at the cleanest level),

of which the last one is the term of the step to s = 0. As the steps shrink, the sum becomes an integral over t of a
rate:

    E  sum over y != x of R(y -> x) (s_y - r_y log s_y + r_y (log r_y - 1)),      x = x_t,

R(y -> x) being the rate at which the chain jumps from y to x, r_y = q(y | x_0) / q(x | x_0), and s_y the model's
p_t(y) / p_t(x) (Campbell et al. 2022, arXiv:2205.14987; the score entropy of Lou et al. 2024, arXiv:2310.16834).
With masks it is (-alpha' / (1 - alpha)) (-log p(x_0 | x_t)) where x is masked, and 0 elsewhere (Sahoo et al. 2024,
arXiv:2406.07524, eq. 10; Shi et al. 2024, arXiv:2406.04329).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import Coefficient
from sde_lib.categorical import IMPOSSIBLE, CategoricalProcess, Categories, StateWeights, log_of, per_example, picked
from sde_lib.categorical_prediction import Belief, log_ratios

Nats = Float[Array, "b *d"]


def step_of(u: Float[Array, " b"], steps: int) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """The times (s, t) of that of so many equal steps in which u lies, uniform in [0, 1); its term stands for all."""
    level = jnp.minimum(jnp.floor(u * steps), steps - 1.0)
    return level / steps, (level + 1.0) / steps


def kl(logits: StateWeights, other: StateWeights) -> Nats:
    """KL of the distributions that two arrays of logits mean, at each position; the first may rule out categories."""
    log_p, log_q = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(other, axis=-1)
    p = jnp.exp(log_p)
    return jnp.sum(jnp.where(p > 0.0, p * (log_p - log_q), 0.0), axis=-1)


def prior_nats(process: CategoricalProcess, x0: Categories, log_eps: float = 0.0) -> Nats:
    """KL(q(x_1 | x_0) || prior), infinite where a chain that masks has not masked all.

    With `log_eps` it is added to the probabilities in both logarithms, as published.
    """
    p = process.marginal(x0, jnp.ones((), float))
    prior = jnp.broadcast_to(process.prior().astype(p.dtype), p.shape)
    if log_eps:
        return jnp.sum(p * (jnp.log(p + log_eps) - jnp.log(prior + log_eps)), axis=-1)
    rounding = 4.0 * jnp.finfo(p.dtype).eps  # a share of which less is kept counts as lost
    return jnp.sum(jnp.where(p > rounding, p * (log_of(p) - jnp.log(prior)), 0.0), axis=-1)


def step_nats(
    process: CategoricalProcess,
    belief: Belief,
    x0: Categories,
    x: Categories,
    s: Coefficient,
    t: Coefficient,
    log_eps: float = 0.0,
) -> Nats:
    """KL(q(x_s | x_t = x, x_0) || p(x_s | x_t = x)) for s < t; where s = 0 it is -log p(x_0 | x_t = x).

    `log_eps` is what published code adds to probabilities in their logarithms (D3PM: 1e-6).
    """
    if process.mask is not None:  # a mask that stays is as likely in both, and so the rest is that of x_0 alone
        unmasking = per_example(process.unmasking(s, t), x.ndim)
        return jnp.where(x == process.mask, -unmasking * picked(belief.x0, x0), 0.0)
    posterior = process.posterior_logits(x0, x, s, t, log_eps)
    reverse = process.reverse_logits(belief.evidence, x, s, t, log_eps)
    to_data = per_example(jnp.asarray(s) <= 0.0, x.ndim)
    return jnp.where(to_data, -picked(belief.x0, x0), kl(posterior, reverse))


def rate_nats(process: CategoricalProcess, belief: Belief, x0: Categories, x: Categories, t: Coefficient) -> Nats:
    """The rate of the bound in continuous time at x_t = x, whose integral over t is the sum of the steps.

    Raises:
      ValueError: a chain of levels, which has no rates.
    """
    if process.mask is not None:
        return masked_nats(process, belief, x0, x, t)
    return score_entropy_nats(process, log_ratios(process, belief.evidence, x, t), x0, x, t)


def masked_nats(process: CategoricalProcess, belief: Belief, x0: Categories, x: Categories, t: Coefficient) -> Nats:
    """(-alpha' / (1 - alpha)) (-log p(x_0 | x_t)) where x is masked, else 0."""
    weight = per_example(process.denoising_rate(t), x.ndim)
    return jnp.where(x == process.mask, -weight * picked(belief.x0, x0), 0.0)


def score_entropy_nats(
    process: CategoricalProcess, log_ratios: StateWeights, x0: Categories, x: Categories, t: Coefficient
) -> Nats:
    """The denoising score entropy of log p_t(y) / p_t(x), weighted by the rates y -> x (Lou et al. 2024)."""
    own = process.marginal(x0, t).astype(log_ratios.dtype)
    log_own = log_of(own)
    log_true = jnp.where(own > 0.0, log_own - picked(log_own, x)[..., None], IMPOSSIBLE)
    true = jnp.exp(log_true)
    terms = jnp.exp(log_ratios) - jnp.where(own > 0.0, true * (log_ratios - log_true + 1.0), 0.0)
    others = jnp.arange(process.states) != x[..., None]
    return process.entering(x, t) * jnp.sum(jnp.where(others, terms, 0.0), axis=-1)


def flow_nats(process: CategoricalProcess, belief: Belief, x0: Categories, x: Categories, t: Coefficient) -> Nats:
    """The rate of the bound of discrete flow matching at x_t = x: its weighted generalised KL.

    With w = -alpha' / (1 - alpha) and d = 1 where x = x_0 it is -w (p(x_t) - d + (1 - d) log p(x_0)) (Shaul et al.
    2024, arXiv:2412.03487): the bound of a process whose categories jump once, to data, at the model's p. With masks it
    is `masked_nats`; a draw of all categories has another reverse process than the chain's own, and a bound that is not
    tight.
    """
    weight = per_example(process.denoising_rate(t), x.ndim)
    p = jnp.pad(jnp.exp(belief.x0), [(0, 0)] * x.ndim + [(0, process.states - process.categories)])
    found = (x == x0).astype(p.dtype)
    log_p = jnp.where(x == x0, 0.0, picked(belief.x0, x0))
    return -weight * (picked(p, x) - found + log_p)
