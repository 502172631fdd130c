"""A sampler from its settings."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from limits import arguments
from samplers import grids, spacings
from samplers.base import Samples, Stepper, predictor_corrector, sample, tweedie
from samplers.defaults import chosen
from samplers.methods import CATEGORICAL
from samplers.nodes import own_chain
from samplers.ode import solve_flow
from samplers.schedulers import course
from samplers.settings import Settings
from samplers.visited import Course, Visited
from sde_lib.base import AffineSDE
from sde_lib.categorical import CategoricalProcess
from sde_lib.categorical_prediction import CategoricalModel, as_belief
from sde_lib.prediction import Model, ScoreFn

Noising = AffineSDE | CategoricalProcess
"""What noises the data: an SDE, or a chain over categories."""


def process_of(sde: Noising, settings: Settings, start: float = 1.0) -> Any:
    """The process along which the settings' sampler asks its model: `sde`, or a chain as a scheduler visits it.

    A scheduler that starts below 1 takes so large a share of its steps, the last ones. A chain over categories whose
    steps must be its own is cut to so many levels up to the start.

    Raises:
      ValueError: a scheduler that cannot be built, or cannot take so many steps.
    """
    if settings.over_categories:
        return cast(CategoricalProcess, sde).respaced(settings.steps, start)
    return _course(cast(AffineSDE, sde), settings, start)[0] if settings.scheduled else sde


def _course(sde: AffineSDE, settings: Settings, start: float) -> tuple[Visited, np.ndarray, Course]:
    text, n = settings.scheduler_config, settings.steps
    return course(sde, settings.method, text, n, start=start, **settings.options)


def stepper_of(
    sde: AffineSDE, model: Model, settings: Settings, start: float = 1.0, guide: ScoreFn | None = None
) -> Stepper:
    """The stepper of the settings; the adaptive ODE has none, and only a scheduler's depends on where it starts.

    A `guide` is for settings that take one (`Settings.takes_guide`).
    """
    settings = chosen(sde, settings)
    if settings.scheduled:
        process, _, found = _course(sde, settings, start)
        return found.solver(process, model)
    made = []
    for constructor in settings.constructors:
        options = arguments(constructor, settings)
        if "discretization" in inspect.signature(constructor).parameters:
            options["discretization"] = _kernels(settings)
        options |= {} if guide is None else {"guide": guide}
        made.append(constructor(sde, model, **options))
    return predictor_corrector(*made) if len(made) == 2 else made[0]


def grid(sde: AffineSDE, stepper: Stepper, settings: Settings, start: float = 1.0) -> np.ndarray:
    """The times of the settings: so many steps, or, of a few-step solver, as many as its evaluations pay for.

    A few-step solver's last step is to t = 0, unless `denoise` is 'none': one with memory or churn takes it in its own
    way, and a single evaluation is that step alone. A map's is the last of the grid's steps, any other's one more. It
    begins at `start`; of a chain's levels it has those up to there.

    Raises:
      ValueError: too few evaluations for one step, or whatever `grids.create` refuses.
    """
    settings = chosen(sde, settings)
    if settings.scheduled:
        return _course(sde, settings, start)[1]
    chain, end = settings.discretization or sde.num_levels, last_time(sde, settings)

    def times(n: int) -> np.ndarray:
        options: Any = {"power": settings.karras_power, "shift": settings.grid_shift, "noise": settings.grid_noise}
        return grids.create(sde, settings.grid, n, end, chain=chain, start=start, **options)

    if not settings.few_step:
        return times(settings.flow_steps if settings.method.startswith("flow") else settings.steps)
    to_data = settings.denoise != "none" and settings.grid != "published"
    if stepper.to_data:
        found = times(settings.evaluations)
        return np.append(found[:-1], 0.0) if to_data else found
    n = (settings.evaluations - to_data) // (stepper.per_step or 1)
    if n < (not to_data):
        least = 1 if to_data else stepper.per_step or 1
        raise ValueError(f"sampling.evaluations is {settings.evaluations}; {settings.method!r} needs at least {least}")
    if not n:
        return np.array([start, 0.0])
    return np.append(times(n), 0.0) if to_data else times(n)


def last_time(sde: AffineSDE, settings: Settings) -> float:
    """Where the grid ends: `t_min`; of a chain not below its cleanest level, which its network has never seen."""
    t_min = chosen(sde, settings).t_min
    return max(t_min, sde.t_min) if sde.num_levels else t_min


def _kernels(settings: Settings) -> int | None:
    """The published chain whose one-step kernels are used on its own grid: none where levels are picked."""
    return None if spacings.known(settings.grid) else settings.discretization or None


def settled(sde: AffineSDE, settings: Settings, start: float = 1.0) -> Settings:
    """The settings as they are carried out on that process: what reports name, and what a network is asked for.

    Grid 'auto' is the one that was chosen (`samplers.defaults`), with its end.
    `discretization` is 0, which is exact kernels, where the grid is not the chain's own, level by level: with other
    `steps`, a `start` below 1, or another `t_min`. Where a chain's levels are picked it names the chain.

    Raises:
      ValueError: a grid that cannot be made.
    """
    settings = chosen(sde, settings)
    if not settings.discretization or "discretization" not in settings.used() or spacings.known(settings.grid):
        return settings
    times = grid(sde, stepper_of(sde, lambda x, t: x, settings), settings, start)
    if own_chain(sde, settings.discretization, times):
        return settings
    return dataclasses.replace(settings, discretization=0)


def create(
    sde: AffineSDE,
    model: Model,
    settings: Settings,
    *,
    trajectory: bool = False,
    wrap: Callable[[Stepper], Stepper] | None = None,
    start: float = 1.0,
    guide: ScoreFn | None = None,
) -> Callable[[Key[Array, ""], Float[Array, "b *d"]], Samples]:
    """The sampler ``(key, z [b, ...]) -> Samples``, z drawn from the prior; jit it once.

    Points z of the prior are first multiplied by `Settings.prior_scale`. Deterministic methods ignore the key. The
    adaptive ODE keeps no trajectory. A learned variance (`Settings.learned_variance`) needs a model that predicts one.
    A scheduler asks its model along `process_of`.

    Args:
      wrap: what is made of the stepper before it runs; the adaptive ODE has none.
      start: where the grid begins, at points z of that noise level; a chain's at its next level below. Of a scheduler
        the share of its steps that are taken, the last ones.
      guide: what moves the mean of each step by the method's own rule (`samplers.classifier_guide`), of settings that
        take one. The last step of a discrete chain, to data, is moved too.

    Raises:
      ValueError: a setting out of range, before anything is traced; or a guide of settings that take none.
    """
    if settings.over_categories:
        raise ValueError(
            f"sampling.method is {settings.method!r}, a sampler over categories, and the process is one of Gaussian "
            "noise; take another method, or a process over categories (sde.name masked, uniform or d3pm)"
        )
    if settings.generates:
        raise ValueError(
            f"sampling.method is {settings.method!r}, of a network that makes data of noise in one evaluation, and the "
            "model here follows a noise process; take another method"
        )
    settings = chosen(sde, settings)
    if guide is not None and not settings.takes_guide:
        raise ValueError(
            f"sampling.method {settings.method!r} has no rule of its own for a guide; give it a model that is moved by "
            "one (samplers.classifier_guided)"
        )
    denoiser = tweedie(sde, model) if settings.denoised else None
    scale = settings.prior_scale if start == 1.0 else 1.0
    if settings.method == "ode":
        if trajectory:
            raise ValueError("sampling.method 'ode' keeps no trajectory; use flow_heun")
        if wrap is not None:
            raise ValueError("sampling.method 'ode' takes no steps that could be wrapped; use flow_heun or heun")
        end = last_time(sde, settings)

        def run_ode(key: Key[Array, ""], z: Float[Array, "b *d"]) -> Samples:
            flow = solve_flow(sde, model, scale * z, start, end, rtol=settings.rtol, atol=settings.atol)
            # A solve that gave up must not pass for a sample.
            x = jnp.where(flow.converged.reshape(-1, *[1] * (z.ndim - 1)), flow.x, jnp.nan)
            if denoiser is None:
                return Samples(x, flow.evaluations)
            return Samples(denoiser(x, jnp.asarray(end, x.dtype)), flow.evaluations + 1)

        if not end < start <= 1.0:
            raise ValueError(f"sampling: it starts at {start} and ends at {end}; needed is t_min < start <= 1")
        return run_ode
    stepper = stepper_of(sde, model, settings, start, guide)
    times = grid(sde, stepper, settings, start)
    if guide is not None and denoiser is not None and sde.num_levels:
        times, denoiser = np.append(times, 0.0), None
    if wrap is not None:
        stepper = wrap(stepper)
    stepper.plan(times)  # refuses a grid or a chain that the method cannot take, before anything is compiled

    def run(key: Key[Array, ""], z: Float[Array, "b *d"]) -> Samples:
        return sample(
            stepper,
            key,
            scale * z,
            times,
            denoiser=denoiser,
            noiseless_end=settings.denoise == "mean" and not settings.scheduled,
            trajectory=trajectory,
        )

    return run


def create_categorical(
    process: CategoricalProcess,
    model: CategoricalModel,
    settings: Settings,
    *,
    trajectory: bool = False,
    wrap: Callable[[Stepper], Stepper] | None = None,
    start: float = 1.0,
) -> Callable[[Key[Array, ""], Int[Array, "b *d"]], Samples]:
    """The sampler over categories ``(key, z [b, ...]) -> Samples``, z drawn of the process's prior; jit it once.

    It takes `Settings.steps` steps on the process's own grid, the last one to data.

    Args:
      trajectory: whether it keeps every state, as `samplers.create` does.
      wrap: what is made of the stepper before it runs, such as `samplers.keeping`.
      start: where the grid begins, at z noised so far, ``process.noise(key, x0, process.grid(steps, start)[0])``.

    Raises:
      ValueError: a method of Gaussian noise, or one that is not for this process; more steps than a chain has levels;
        a start that is not above 0, up to 1.
    """
    if not 0.0 < start <= 1.0:
        raise ValueError(f"sampling: it starts at {start}; needed is 0 < start <= 1")
    if not settings.over_categories:
        raise ValueError(
            f"sampling.method is {settings.method!r}, which is of Gaussian noise, and the process is one over "
            f"categories; take one of {', '.join(CATEGORICAL)}"
        )
    times, along = process.grid(settings.steps, start), process.respaced(settings.steps, start)
    (constructor,) = settings.constructors
    belief = dataclasses.replace(as_belief(process, model), process=along)
    stepper = constructor(along, belief, **arguments(constructor, settings))
    if wrap is not None:
        stepper = wrap(stepper)
    return lambda key, z: sample(stepper, key, z, times, trajectory=trajectory)


def draw(
    sampler: Callable[[Key[Array, ""], Num[Array, "b *d"]], Samples],
    sde: Noising,
    key: Key[Array, ""],
    shape: tuple[int, ...],
) -> Samples:
    """Prior draws of the given shape [b, ...] carried to data by the sampler."""
    key_prior, key_path = jax.random.split(key)
    return sampler(key_path, sde.prior_sample(key_prior, shape))
