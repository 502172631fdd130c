"""What XLA on CPU has to be told to be fast; on GPU and TPU nothing here does anything."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

OPTIONS = {
    # Without this the barriers of `materialized` vanish before fusion.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}
FLOAT32_OPTIONS = OPTIONS | {
    # YNNPACK for products and sums; its convolutions take up to three times as long as Eigen's, most of all for the
    # gradient of a kernel. Of bfloat16 it widens both factors first.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE",
}


def compiler_options(dtype: DTypeLike | None = None) -> dict[str, str]:
    """What XLA is told of a program that is mostly network; empty on GPU, TPU, and an XLA that has not got it.

    Call it when the backend may be chosen: it compiles a one-line program to see. `dtype`: what the network computes
    in; None: float32.
    """
    return _known_options(is_half(dtype)) if jax.default_backend() == "cpu" else {}


@functools.cache
def _known_options(half: bool) -> dict[str, str]:
    options = OPTIONS if half else FLOAT32_OPTIONS
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(0.0).compile()
    except Exception:  # an unknown option comes as an error of XLA's
        return {}
    return options


def network_jit(function: Callable[..., Any], dtype: DTypeLike | None = None, **options: Any) -> Callable[..., Any]:
    """`jax.jit`, of a program that is mostly a network that computes in `dtype`: with `compiler_options`."""
    return jax.jit(function, compiler_options=compiler_options(None if dtype is None else jnp.dtype(dtype)), **options)


def network_call(function: Callable[..., Any], dtype: DTypeLike | None = None) -> Callable[..., Any]:
    """`network_jit` of a function that may also be called while another program is traced, as samplers call a score.

    XLA takes options for a whole program alone. Within another one, and in a derivative, the function is a part of it,
    and has that one's.
    """
    whole, part = network_jit(function, dtype), jax.jit(function)

    def call(*arguments: Any) -> Any:
        here = jnp.zeros(())  # a tracer within a program, where every array is
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((here, arguments)))
        return part(*arguments) if traced else whole(*arguments)

    return call


def is_half(dtype: DTypeLike | None) -> bool:
    """Whether this is bfloat16, of which CPUs multiply two numbers at once and sum the products in float32."""
    return dtype is not None and jnp.dtype(dtype) == jnp.bfloat16


def summed_in(x: Array) -> DTypeLike | None:
    """What products of x are summed in (`preferred_element_type`), to be rounded to the type of x; None: as it is.

    On CPU it is float32 for bfloat16: a product that is asked for in bfloat16 is one of float32 there, for which XLA
    widens both factors, the weights of the network among them. Stable Diffusion's U-Net takes half the time so.
    """
    return jnp.float32 if jax.default_backend() == "cpu" and is_half(x.dtype) else None


def materialized(x: Array) -> Array:
    """x, and in reverse mode its cotangent, computed once on CPU.

    XLA's fusion on CPU computes chains of elementwise operations again within each of their consumers: in the training
    step of NCSN++ that took a fifth of the time. Programs of `network_jit` heed it.
    """
    return lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x
