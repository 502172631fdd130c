"""The variational bound over categories of a batch, in bits a number: its diffusion, prior and reconstruction terms."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from sde_lib import BeliefFn, CategoricalProcess
from sde_lib.bound import Bound
from sde_lib.categorical import picked
from sde_lib.categorical_bound import prior_nats, rate_nats, step_nats, step_of
from sde_lib.variational import bits


def categorical_bound(
    process: CategoricalProcess, belief: BeliefFn, x0: Int[Array, "b *d"], keys: Key[Array, " b"], times: int
) -> Bound:
    """The terms [b] of the bound, whose sum is at or above -log p(x_0) in expectation, each example by its own key.

    The diffusion term is a mean over so many `times`, evenly spread behind a random one, with noise of their own. On a
    chain of levels it holds the step to data too, and as many times as levels, or more, are each of the levels once.
    One evaluation a time, and one more in continuous time where the process does not begin with the data themselves.
    """
    n, start, noise = process.num_levels, jax.vmap(jax.random.uniform)(keys), jax.vmap(process.noise)
    every = bool(n) and times >= n
    count = n if every else times

    def draws(i: Array | int) -> Key[Array, " b"]:
        return jax.vmap(jax.random.fold_in, (0, None))(keys, i)

    def at(i: Array) -> Float[Array, " b"]:
        u = jnp.full_like(start, (i + 0.5) / n) if every else (start + i / count) % 1.0
        if not n:
            t = process.t_min + (1.0 - process.t_min) * u
            x = noise(draws(i), x0, t)
            return (1.0 - process.t_min) * bits(rate_nats(process, belief(x, t), x0, x, t))
        s, t = step_of(u, n)
        x = noise(draws(i), x0, t)
        return n * bits(step_nats(process, belief(x, t), x0, x, s, t))

    diffusion = jnp.mean(jax.lax.map(at, jnp.arange(count)), axis=0)
    prior, reconstruction = bits(prior_nats(process, x0)), jnp.zeros_like(diffusion)
    if process.begins_noised:
        t = jnp.full_like(start, process.t_min)
        reconstruction = bits(-picked(belief(noise(draws(count), x0, t), t).x0, x0))
    return Bound(diffusion, prior, reconstruction)
