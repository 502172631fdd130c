"""The matrix products a device can do a second: what a training step's operations are measured against."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

SIZES = {"cpu": (1536, 2048, 3072)}
OTHER_SIZES = (4096, 8192, 16384)  # of an accelerator


def products(dtype: str) -> dict[str, tuple[Callable[[], jax.Array], float]]:
    """By name: a call that multiplies two square matrices of this dtype, and its operations.

    At JAX's default precision: on GPUs that have it float32 is multiplied as TF32, as convolutions are.
    """
    multiply = jax.jit(jnp.matmul)
    found = {}
    for n in SIZES.get(jax.default_backend(), OTHER_SIZES):
        a, b = (
            jax.random.normal(key, (n, n), jnp.float32).astype(dtype) for key in jax.random.split(jax.random.key(0))
        )
        found[f"{dtype} product of {n}"] = (lambda a=a, b=b: multiply(a, b)), 2.0 * n**3
    return found
