"""What XLA on CPU has to be told to be fast; on GPU and TPU nothing here does anything."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jaxtyping import Array

OPTIONS = {
    # YNNPACK for products and sums; its convolutions take up to three times as long as Eigen's, most of all for the
    # gradient of a kernel.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE",
    # Without this the barriers of `materialized` vanish before fusion.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}


@functools.cache
def compiler_options() -> dict[str, str]:
    """What XLA is told of a program that is mostly network; empty on GPU, TPU, and an XLA that has not got it.

    Call it when the backend may be chosen: it compiles a one-line program to see.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=OPTIONS).lower(0.0).compile()
    except Exception:  # an unknown option comes as an error of XLA's
        return {}
    return OPTIONS


def network_jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit`, of a program that is mostly network: with `compiler_options`."""
    return jax.jit(function, compiler_options=compiler_options(), **options)


def materialized(x: Array) -> Array:
    """x, and in reverse mode its cotangent, computed once on CPU.

    XLA's fusion on CPU computes chains of elementwise operations again within each of their consumers: in the training
    step of NCSN++ that took a fifth of the time. Programs of `network_jit` heed it.
    """
    return lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x
