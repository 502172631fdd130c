"""DDIM: the deterministic step of discrete diffusion, its stochastic family, and its inversion."""

import itertools
from typing import Annotated

from limits import check, not_negative
from samplers.base import Stepper
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node, ancestral_step
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model

ETA = not_negative(note="0 is deterministic, 1 is DDPM's ancestral sampler")


def ddim(sde: AffineSDE, model: Model, *, eta: Annotated[float, ETA] = 0.0) -> Stepper:
    """x_s = alpha_s x0 + sqrt(sigma_s^2 - v^2) eps + v z, v = eta x the posterior's deviation, at most sigma_s.

    Song et al. 2021 (arXiv:2010.02502, eq. 12 and 16), for any process. eta = 0 is deterministic, of order 1 towards
    the probability flow (and exact along it where x0 does not change); eta = 1 is DDPM's ancestral sampler with the
    small variance, and k-diffusion's Euler ancestral. On a rising grid eta = 0 inverts: data to latents. One
    evaluation a step.

    Raises:
      ValueError: a negative eta, or eta > 0 on a rising grid.
    """
    check("ddim: ", {"eta": eta}, {"eta": ETA})

    def table(grid: list[Node]) -> list[Row]:
        rows = []
        for t, s in itertools.pairwise(grid):
            if eta and s.t > t.t:
                raise ValueError(f"ddim: a rising grid inverts, which needs eta 0; received eta {eta}")
            less, noise = ancestral_step(t, s, eta)
            keep = less.sigma / t.sigma
            rows.append(Row(t, Move(keep, [s.alpha - keep * t.alpha], noise)))
        return rows

    return linear(sde, model, Method("x0", noisy=eta > 0.0), table)
