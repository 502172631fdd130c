"""One compiled loop for every grid and length of a method: for comparing many of them.

`samplers.sample` has its grid compiled in, which is right for drawing. Here the grid's rows and their number are
arguments, so that 5 steps on one grid and 50 on another are the same program.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from samplers.base import Stepper, tweedie
from samplers.create import grid, stepper_of
from samplers.settings import Settings
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model


class Table(NamedTuple):
    """The rows of a grid, padded to a common length, how many of them are real, where it ends, what it costs."""

    rows: Any
    real: int
    end: float
    evaluations: int


def table(sde: AffineSDE, stepper: Stepper, settings: Settings, length: int) -> Table:
    """The settings' grid as rows for `loop`, float64 numpy, [length, ...].

    Raises:
      ValueError: a grid of more rows than that, or whatever `samplers.create` refuses.
    """
    times = grid(sde, stepper, settings)
    rows = stepper.plan(times).rows
    count = len(jax.tree.leaves(rows)[0])
    if count > length:
        raise ValueError(f"table: {count} rows of {settings.method!r} do not fit in {length}")
    padded = jax.tree.map(lambda a: np.pad(a, [(0, length - count), *[(0, 0)] * (np.ndim(a) - 1)]), rows)
    return Table(padded, count, float(times[-1]), count * stepper.evaluations + settings.denoised)


def loop(
    sde: AffineSDE, model: Model, settings: Settings
) -> Callable[[Key[Array, ""], Float[Array, "b *d"], Table], Float[Array, "b *d"]]:
    """What `samplers.create` makes of the settings, with the table as an argument: (key, z, table) -> samples."""
    stepper = stepper_of(sde, model, settings)
    denoiser = tweedie(sde, model) if settings.denoised else None

    def run(key: Key[Array, ""], z: Float[Array, "b *d"], table: Table) -> Float[Array, "b *d"]:
        rows, end = jax.tree.map(lambda a: jnp.asarray(a, z.dtype), (table.rows, table.end))

        def body(i: Array, state: Any) -> Any:
            return stepper.step(jax.random.fold_in(key, i), state, *jax.tree.map(lambda a: a[i], rows))

        state = jax.lax.fori_loop(0, table.real, body, stepper.init(z))
        if denoiser is not None:
            return denoiser(state.x, end)
        return state.mean if settings.denoise == "mean" else state.x

    return run


def least(sde: AffineSDE, settings: Settings) -> int:
    """The evaluations of one step of the settings' method, and of the step to data where that is one more.

    Raises:
      ValueError: the adaptive ODE, which takes what its tolerances ask for.
    """
    if settings.method == "ode":
        raise ValueError("method 'ode' takes as many evaluations as its tolerances ask for; take 'heun' or another")
    if settings.scheduled:
        raise ValueError(f"method {settings.method!r} takes sampling.steps, and no grid; take 'ddim' or another solver")
    stepper = stepper_of(sde, lambda x, t: x, settings)
    return (stepper.per_step or stepper.evaluations) + _to_data(stepper, settings)


def spending(sde: AffineSDE, settings: Settings, evaluations: int) -> Settings:
    """The settings with as many steps as cost at most so many evaluations, the one of the step to data included.

    Raises:
      ValueError: fewer than `least`, or a grid that the method cannot take.
    """
    if evaluations < (needed := least(sde, settings)):
        raise ValueError(f"{evaluations} evaluations: {settings.method!r} needs at least {needed}")
    to_data = _to_data(stepper_of(sde, lambda x, t: x, settings), settings)
    steps = (evaluations - to_data) // (needed - to_data)
    chosen = dataclasses.replace(settings, evaluations=evaluations, steps=steps, flow_steps=steps)
    stepper = stepper_of(sde, lambda x, t: x, chosen)
    stepper.plan(grid(sde, stepper, chosen))
    return chosen


def _to_data(stepper: Stepper, settings: Settings) -> bool:
    """Whether one evaluation is the step to data alone; a map's last jump leads there by itself."""
    return settings.denoise == "tweedie" and not stepper.to_data
