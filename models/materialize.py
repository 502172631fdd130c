"""Keeping a value that several things are made from, instead of making it again for each of them."""

import jax
from jax import lax
from jaxtyping import Array


def compiler_options() -> dict[str, str]:
    """Options of `jax.jit` with which XLA on CPU heeds `materialized`; without them its barriers vanish before fusion.

    They pay where a network is differentiated. Call it after JAX's backend may be chosen.
    """
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if jax.default_backend() == "cpu" else {}


def materialized(x: Array) -> Array:
    """x, and in reverse mode its cotangent, computed once on CPU.

    XLA's fusion on CPU computes chains of elementwise operations again within each of their consumers: in the training
    step of NCSN++ that took a third of the time. On GPU and TPU, whose fusion is better, x is left alone.
    """
    return lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x
