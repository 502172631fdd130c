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
    chain's levels has those up to there and begins at the first of them. Also what a guide paints by hand, a sketch
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
    first = strength if settings.method == "ode" else grid(sde, stepper_of(sde, model, settings), settings, strength)[0]
    alpha, sigma = (float(host(f, np.array([first]))[0]) for f in ((process or sde).alpha, (process or sde).sigma))

    def run(key: Key[Array, ""], x0: Float[Array, "b *d"]) -> Samples:
        key_noise, key_path = jax.random.split(key)
        return sampler(key_path, alpha * x0 + sigma * normal_like(key_noise, x0))

    return run
