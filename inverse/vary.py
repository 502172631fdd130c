"""Variations of an image: noised part of the way, and sampled back from there."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, Key

import samplers
from inverse.ranges import RANGES
from limits import check
from samplers.base import Samples, normal_like
from samplers.create import grid, stepper_of
from samplers.nodes import host
from samplers.settings import Settings
from sde_lib.base import AffineSDE, Process
from sde_lib.prediction import Model


def noise_at_start(
    sde: AffineSDE, settings: Settings, strength: float, *, process: Process | None = None
) -> tuple[float, float]:
    """alpha and sigma where a sampler with these settings starts, `strength` and `process` being those of `vary`."""
    noises = samplers.process_of(sde, settings, strength) if settings.scheduled else process or sde
    first = np.array([strength])
    if settings.method != "ode":
        first = grid(sde, stepper_of(sde, lambda x, t: x, settings, strength), settings, strength)[:1]
    alpha, sigma = (float(host(f, first)[0]) for f in (noises.alpha, noises.sigma))
    return alpha, sigma


def vary(
    sde: AffineSDE,
    model: Model,
    settings: Settings,
    strength: float,
    *,
    process: Process | None = None,
    trajectory: bool = False,
) -> Callable[[Key[Array, ""], Float[Array, "b *d"]], Samples]:
    """The map ``(key, x0 [b, ...]) -> Samples``: x_t = alpha x0 + sigma eps at t = `strength`, and a sample from there.

    SDEdit (Meng et al. 2021, arXiv:2108.01073, Algorithm 1; published: VE, t of 0.3 to 0.6). At strength 1 little is
    left of x0, near 0 little changes. The settings' steps or evaluations are all spent below `strength`; a grid of a
    chain's levels has those up to there and begins at the first of them. A scheduler of diffusers takes this share of
    its steps, the last ones, as that program does. Also what a guide paints by hand, a sketch
    or a collage, becomes an image this way.

    Args:
      sde: the process.
      model: its predictions or score.
      settings: the sampler's; `samplers.settled` says what becomes of a published chain's kernels below t = 1.
      strength: t, above the settings' t_min, at most 1.
      process: what the network knows, where that is not the SDE: the levels of a discrete chain.
      trajectory: as in `samplers.create`.

    Raises:
      ValueError: a strength out of bounds, or what `samplers.create` refuses.
    """
    check("vary: ", {"strength": strength}, RANGES)
    sampler = samplers.create(sde, model, settings, trajectory=trajectory, start=strength)
    alpha, sigma = noise_at_start(sde, settings, strength, process=process)

    def run(key: Key[Array, ""], x0: Float[Array, "b *d"]) -> Samples:
        key_noise, key_path = jax.random.split(key)
        return sampler(key_path, alpha * x0 + sigma * normal_like(key_noise, x0))

    return run
