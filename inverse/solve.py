"""Conjugate gradients for a batch of small linear systems, each example on its own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import expand


def conjugate_gradients(
    operator: Callable[[Float[Array, "b *m"]], Float[Array, "b *m"]],
    b: Float[Array, "b *m"],
    *,
    iterations: int,
    tolerance: float = 1e-6,
) -> Float[Array, "b *m"]:
    """v with operator(v) = b, after so many steps from 0 (Hestenes and Stiefel 1952); one application a step.

    The operator acts on each example by itself and is symmetric positive semidefinite; b lies in its range. No example
    depends on its neighbours: lengths and steps are its own, and one stops once its residual is below `tolerance` of
    |b|, or where the operator turns out negative, as that of a network may. In exact arithmetic as many steps suffice
    as the operator has eigenvalues.
    """

    def dot(u: Array, v: Array) -> Array:
        return jnp.sum((u * v).reshape(len(u), -1), axis=1)

    enough = tolerance**2 * dot(b, b)

    def improve(_: Array | int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        v, r, p, rr = state
        q = operator(p)
        pq = dot(p, q)
        active = (rr > enough) & (pq > 0.0)
        step = expand(jnp.where(active, rr / jnp.where(active, pq, 1.0), 0.0), b)
        v, r = v + step * p, r - step * q
        after = dot(r, r)
        turn = expand(jnp.where(active, after / jnp.where(active, rr, 1.0), 0.0), b)
        return v, r, r + turn * p, jnp.where(active, after, 0.0)

    state = (jnp.zeros_like(b), b, b, dot(b, b))
    return jax.lax.fori_loop(0, iterations, improve, state)[0]
