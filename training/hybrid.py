"""The terms L_t of the variational bound as a training loss of networks that predict a variance.

    variational:  n L_t, an estimate of the bound without its prior, bits/dim
    hybrid:       L_simple + lambda n L_t, lambda = 0.001   (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 16)

In the hybrid loss the bound is a function of the variance alone: the gradient of the mean is L_simple's.
"""

from typing import Protocol

from jaxtyping import Array, Float

from sde_lib import AffineSDE, ChainTables
from sde_lib.variational import step_bits

Image = Float[Array, "b *d"]


class Settings(Protocol):
    """What of an `Objective` is read here."""

    sde: AffineSDE
    num_scales: int
    loss: str
    variance: str
    weight: str
    time_sampling: str
    reduce_mean: bool
    half_bin: float | None
    bounds: tuple[float, float]


def check(settings: Settings) -> None:
    """ValueError where a term of the bound, or a loss by level, has no levels or nothing to learn."""
    for field, wanted in (("loss", ("hybrid", "variational")), ("time_sampling", ("loss_aware",))):
        value = getattr(settings, field)
        if value in wanted and not settings.num_scales:
            raise ValueError(
                f"training.{field} is {value!r}, which is for noise levels; set training.continuous=False and "
                "model.num_scales"
            )
    learned = settings.variance.startswith("learned")
    if settings.loss == "hybrid" and not (learned and settings.reduce_mean):
        raise ValueError(
            "training.loss is 'hybrid', which trains a learned variance beside a mean over an image's numbers: "
            f"training.variance is {settings.variance!r}, training.reduce_mean {settings.reduce_mean}; needed are "
            "learned_range or learned, and True"
        )
    if settings.loss == "variational" and settings.weight not in ("uniform", "snr"):
        raise ValueError(
            f"training.loss is 'variational', whose terms have their own weights; training.weight is "
            f"{settings.weight!r}, set it to 'uniform'"
        )


def term(
    settings: Settings, x0: Image, x: Image, t: Float[Array, " b"], eps_hat: Image, v: Image | None
) -> Float[Array, " b"]:
    """L_t at x = x_t, bits/dim; at level 0 the decoder's."""
    tables, i = ChainTables.of(settings.sde, settings.num_scales), settings.sde.level_index(t, settings.num_scales)
    x0_hat = (x - tables.row(tables.sigma, i, x) * eps_hat) / tables.row(tables.alpha, i, x)
    log_variance = tables.log_variance(settings.variance, x, i, v)
    bins = {"half_bin": settings.half_bin, "bounds": settings.bounds}
    return step_bits(tables, x0, x, i, x0_hat, log_variance, **bins)
