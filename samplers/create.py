"""A sampler from its settings: every method by name, on one score."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from samplers import grids
from samplers.ancestral import ancestral
from samplers.base import Samples, Stepper, chain, sample, tweedie
from samplers.euler_maruyama import euler_maruyama
from samplers.flow import flow_euler, flow_heun
from samplers.langevin import annealed_langevin, langevin
from samplers.ode import solve_flow
from samplers.reverse_diffusion import reverse_diffusion
from sde_lib.base import AffineSDE
from sde_lib.prediction import ScoreFn

PREDICTORS: dict[str, Callable[..., Stepper]] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
    "flow_euler": flow_euler,
    "flow_heun": flow_heun,
}
CORRECTORS: dict[str, Callable[..., Stepper]] = {"langevin": langevin, "ald": annealed_langevin}
METHODS = ("pc", "ode", *PREDICTORS)
DENOISE = ("tweedie", "mean", "none")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a sampler is; the fields are the config's ``sampling`` section, the ancestor's names where they exist.

    Attributes:
      method: 'pc' (predictor and corrector), 'ode' (adaptive probability flow), or one predictor by name.
      predictor: of 'pc': one of PREDICTORS, or 'none' for the corrector alone.
      corrector: of 'pc': 'langevin', 'ald' (annealed Langevin) or 'none'.
      snr: the corrector's ratio of drift to noise.
      n_steps_each: corrector steps a predictor step.
      corrector_norm: 'sample', or the published 'batch'.
      steps: grid steps of the stochastic methods.
      flow_steps: grid steps of the fixed-step flow methods.
      grid: 'uniform', 'quadratic', 'published', or 'levels' (those of a chain, which `discretization` names).
      t_min: where the grid ends.
      denoise: the last step to data: 'tweedie' (one more evaluation), 'mean' (published: the last step without its
        noise; nothing for flow methods) or 'none'.
      variance: of 'ancestral': 'small' or 'large'.
      discretization: 0 for exact kernels, N for the published N-step chain.
      rtol: of 'ode'.
      atol: of 'ode'.
    """

    method: str = "pc"
    predictor: str = "reverse_diffusion"
    corrector: str = "langevin"
    snr: float = 0.16
    n_steps_each: int = 1
    corrector_norm: str = "sample"
    steps: int = 1000
    flow_steps: int = 50
    grid: str = "uniform"
    t_min: float = 1e-3
    denoise: str = "tweedie"
    variance: str = "small"
    discretization: int = 0
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        for field, allowed in (
            ("method", METHODS),
            ("predictor", (*PREDICTORS, "none")),
            ("corrector", (*CORRECTORS, "none")),
            ("denoise", DENOISE),
            ("grid", tuple(grids.GRIDS)),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(f"sampling.{field} is {getattr(self, field)!r}; known are {', '.join(allowed)}")
        if self.discretization < 0:
            raise ValueError(f"sampling.discretization is {self.discretization}; 0 is exact, N the published chain")
        if self.predictor == self.corrector == "none":
            raise ValueError("sampling.predictor and sampling.corrector are both 'none'; one of them must move")
        if self.grid == "levels" and self.method != "ode":
            fixed_flow = self.method.startswith("flow") or (self.method == "pc" and self.predictor.startswith("flow"))
            if fixed_flow or not self.discretization:
                raise ValueError(
                    "sampling.grid 'levels' is that of a discrete chain: give sampling.discretization its number of "
                    "levels and use a stochastic method, or grid 'uniform'"
                )
        if self.grid == "published" and self.method != "ode":
            if "flow_heun" in (self.method, self.predictor if self.method == "pc" else ""):
                raise ValueError("sampling.grid 'published' ends at t = 0, where flow_heun would need the score")
            if self.denoise == "tweedie":
                raise ValueError(
                    "sampling.denoise 'tweedie' needs the score at the grid's end, and sampling.grid 'published' ends "
                    "at t = 0; use denoise 'mean' or 'none', or grid 'uniform'"
                )

    def used(self) -> dict[str, object]:
        """The fields that matter to this method, for reports."""
        method = self.method
        names: tuple[str, ...] = ()
        if method == "ode":
            names = ("rtol", "atol")
        else:
            if method == "pc":
                names += ("predictor", "corrector")
                if self.corrector != "none":
                    names += ("snr", "n_steps_each")
                if self.corrector == "langevin":
                    names += ("corrector_norm",)
            flow = method.startswith("flow")
            names += ("flow_steps" if flow else "steps", "grid")
            mover = self.predictor if method == "pc" else method
            if mover == "ancestral":
                names += ("variance",)
            if mover in ("ancestral", "reverse_diffusion") or (method == "pc" and self.corrector != "none"):
                names += ("discretization",)
        values = dataclasses.asdict(self)
        return {name: values[name] for name in (*names, "t_min", "denoise")}


def _predictor(name: str, sde: AffineSDE, score: ScoreFn, settings: Settings) -> Stepper:
    options: dict[str, object] = {}
    if name in ("reverse_diffusion", "ancestral"):
        options["discretization"] = settings.discretization or None
    if name == "ancestral":
        options["variance"] = settings.variance
    return PREDICTORS[name](sde, score, **options)


def _stepper(sde: AffineSDE, score: ScoreFn, settings: Settings) -> Stepper:
    if settings.method != "pc":
        return _predictor(settings.method, sde, score, settings)
    if settings.corrector == "none":
        return _predictor(settings.predictor, sde, score, settings)
    options: dict[str, object] = {"snr": settings.snr, "n_steps": settings.n_steps_each}
    if settings.corrector == "langevin":
        options["norm"] = settings.corrector_norm
    corrector = CORRECTORS[settings.corrector](sde, score, discretization=settings.discretization or None, **options)
    if settings.predictor == "none":
        return corrector
    return chain(_predictor(settings.predictor, sde, score, settings), corrector)


def create(
    sde: AffineSDE, score: ScoreFn, settings: Settings, *, trajectory: bool = False
) -> Callable[[Key[Array, ""], Float[Array, "b *d"]], Samples]:
    """The sampler ``(key, z [b, ...]) -> Samples``, z drawn from the prior; jit it once.

    Deterministic methods ignore the key. The adaptive ODE keeps no trajectory.

    Raises:
      ValueError: a setting out of range, before anything is traced.
    """
    denoiser = tweedie(sde, score) if settings.denoise == "tweedie" else None
    if settings.method == "ode":
        if trajectory:
            raise ValueError("sampling.method 'ode' keeps no trajectory; use flow_heun")

        def run_ode(key: Key[Array, ""], z: Float[Array, "b *d"]) -> Samples:
            flow = solve_flow(sde, score, z, 1.0, settings.t_min, rtol=settings.rtol, atol=settings.atol)
            # A solve that gave up must not pass for a sample.
            x = jnp.where(flow.converged.reshape(-1, *[1] * (z.ndim - 1)), flow.x, jnp.nan)
            if denoiser is None:
                return Samples(x, flow.evaluations)
            return Samples(denoiser(x, jnp.asarray(settings.t_min, x.dtype)), flow.evaluations + 1)

        if not 0.0 < settings.t_min < 1.0:
            raise ValueError(f"sampling.t_min is {settings.t_min}; it must lie in (0, 1), e.g. 1e-3")
        if settings.rtol <= 0.0 or settings.atol <= 0.0:
            raise ValueError(f"sampling.rtol {settings.rtol}, sampling.atol {settings.atol}; both must be positive")
        return run_ode
    stepper = _stepper(sde, score, settings)
    fixed_flow = settings.method.startswith("flow")
    times = grids.create(settings.grid, settings.flow_steps if fixed_flow else settings.steps, settings.t_min)

    def run(key: Key[Array, ""], z: Float[Array, "b *d"]) -> Samples:
        return sample(
            stepper,
            key,
            z,
            jnp.asarray(times, z.dtype),
            denoiser=denoiser,
            noiseless_end=settings.denoise == "mean",
            trajectory=trajectory,
        )

    return run


def draw(
    sampler: Callable[[Key[Array, ""], Float[Array, "b *d"]], Samples],
    sde: AffineSDE,
    key: Key[Array, ""],
    shape: tuple[int, ...],
) -> Samples:
    """Prior draws of the given shape [b, ...] carried to data by the sampler."""
    key_prior, key_path = jax.random.split(key)
    return sampler(key_path, sde.prior_sample(key_prior, shape))
