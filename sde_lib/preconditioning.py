"""Preconditioning: the network F inside a denoiser, D(x; sigma) = c_skip x + c_out F(c_in x; c_noise).

Karras et al. 2022 (arXiv:2206.00364, eq. 7 and table 1) write every published training as one of these, for data plus
noise of standard deviation sigma, alpha = 1. A point of any other process becomes one by dividing by alpha: x / alpha
has the noise sigma / alpha. D is the x0 of `sde_lib.prediction`. Each is a `sde_lib.parameterization.Parameterization`:
it says both what the network predicts and how it is told the noise.
"""

import abc
import dataclasses
import functools
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sde_lib.base import Process, expand
from sde_lib.prediction import NetworkFn, PredictFn, Prediction, before_noise, halves

Sigma = Float[Array, "..."]


@dataclasses.dataclass(frozen=True)
class Preconditioning(abc.ABC):
    """Four coefficients, each elementwise in sigma > 0 (noise of data of scale 1)."""

    told_end: ClassVar[bool] = False

    def c_skip(self, sigma: Sigma) -> Sigma:
        """Factor of the noisy image within the denoised one: 1."""
        return jnp.ones_like(sigma)

    def c_out(self, sigma: Sigma) -> Sigma:
        """Factor of the network's output within the denoised image: -sigma, the network predicts eps."""
        return -sigma

    def c_in(self, sigma: Sigma) -> Sigma:
        """Factor of the network's input: 1 / sqrt(sigma^2 + 1), the alpha of a variance-preserving process."""
        return 1.0 / jnp.hypot(sigma, 1.0)

    @abc.abstractmethod
    def c_noise(self, sigma: Sigma) -> Sigma:
        """What tells the network the noise."""

    def skipped_noise(self, sigma: Sigma) -> Sigma:
        """(1 - c_skip) / sigma, without the cancellation at small sigma: the share of x in eps."""
        return jnp.zeros_like(sigma)

    def x0_eps(
        self, output: Float[Array, "b *d"], x: Float[Array, "b *d"], sigma: Array
    ) -> tuple[Float[Array, "b *d"], Float[Array, "b *d"]]:
        """(x0, eps) of the network's output at x = x0 + sigma eps; sigma broadcasts over x.

        x0 = c_skip x + c_out F and eps = (x - x0) / sigma.
        """
        c_out = self.c_out(sigma)
        return self.c_skip(sigma) * x + c_out * output, self.skipped_noise(sigma) * x - c_out / sigma * output

    def predict_fn(self, process: Process, network: NetworkFn) -> PredictFn:
        """The predictions of the network inside D: it is called once, at c_in x / alpha and c_noise of sigma / alpha.

        The second half of twice the channels is the variance output. Where alpha is 0 it is asked at `NEARLY_NOISE`.
        """

        def function(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
            t = before_noise(process, t)
            alpha = process.alpha(t)
            sigma = jnp.maximum(process.sigma(t) / alpha, jnp.finfo(x.dtype).tiny)
            scaled = x / expand(alpha, x)
            output, v = halves(network(expand(self.c_in(sigma), x) * scaled, self.c_noise(sigma)), x)
            return Prediction(*self.x0_eps(output, scaled, expand(sigma, x)), v)

        return PredictFn(process, function)


@dataclasses.dataclass(frozen=True)
class EDM(Preconditioning):
    """Karras et al. 2022: input and target of unit variance for data of standard deviation sigma_data."""

    sigma_data: float = 0.5

    def c_skip(self, sigma: Sigma) -> Sigma:
        """sigma_data^2 / (sigma^2 + sigma_data^2)."""
        return (self.sigma_data * self.c_in(sigma)) ** 2

    def c_out(self, sigma: Sigma) -> Sigma:
        """sigma sigma_data / sqrt(sigma^2 + sigma_data^2)."""
        return sigma * self.sigma_data * self.c_in(sigma)

    def c_in(self, sigma: Sigma) -> Sigma:
        """1 / sqrt(sigma^2 + sigma_data^2)."""
        return 1.0 / jnp.hypot(sigma, self.sigma_data)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """log(sigma) / 4."""
        return jnp.log(sigma) / 4.0

    def skipped_noise(self, sigma: Sigma) -> Sigma:
        """sigma / (sigma^2 + sigma_data^2)."""
        return sigma * self.c_in(sigma) ** 2


@dataclasses.dataclass(frozen=True)
class Consistency(EDM):
    """A consistency model f, which is x itself at sigma_min (Song et al. 2023, arXiv:2303.01469, App. C).

    f leads from any sigma to the point of the same path at sigma_min, and the pair (x0, eps) is the one whose straight
    way from x goes through f there: x0 + sigma_min eps = f. The published c_out has sigma, not sigma - sigma_min, under
    the root.
    """

    sigma_min: float = 0.002

    def c_skip(self, sigma: Sigma) -> Sigma:
        """sigma_data^2 / ((sigma - sigma_min)^2 + sigma_data^2), of x within f."""
        return self.sigma_data**2 / ((sigma - self.sigma_min) ** 2 + self.sigma_data**2)

    def c_out(self, sigma: Sigma) -> Sigma:
        """(sigma - sigma_min) sigma_data / sqrt(sigma^2 + sigma_data^2), of the network's output within f."""
        return (sigma - self.sigma_min) * self.sigma_data * self.c_in(sigma)

    def skipped_noise(self, sigma: Sigma) -> Sigma:
        """(sigma - sigma_min) / ((sigma - sigma_min)^2 + sigma_data^2)."""
        step = sigma - self.sigma_min
        return step / (step**2 + self.sigma_data**2)

    def x0_eps(
        self, output: Float[Array, "b *d"], x: Float[Array, "b *d"], sigma: Array
    ) -> tuple[Float[Array, "b *d"], Float[Array, "b *d"]]:
        """eps = (x - f) / (sigma - sigma_min), without the division, and x0 = f - sigma_min eps."""
        eps = self.skipped_noise(sigma) * x - self.sigma_data * self.c_in(sigma) * output
        return self.c_skip(sigma) * x + self.c_out(sigma) * output - self.sigma_min * eps, eps


@dataclasses.dataclass(frozen=True)
class ECT(Consistency):
    """A consistency model of easy consistency tuning, which is x itself at 0.003 (Geng et al. 2024, arXiv:2406.14548).

    It is trained inside EDM's own coefficients, and evaluated inside these.
    """

    sigma_min: float = 0.003


@dataclasses.dataclass(frozen=True)
class TrigFlow(EDM):
    """The trigonometric flow (Lu and Song 2024, arXiv:2410.11081, sec. 3): EDM's D, whose F is a velocity.

    The noise is an angle t, tan t = sigma / sigma_data, and x_t = cos(t) x has the same deviation at all of them:

        D = cos(t) x_t - sin(t) sigma_data F(x_t / sigma_data, t),        F = (cos(t) z - sin(t) x_0) / sigma_data

    with z = sigma_data eps, so that c_skip and c_in are EDM's, and c_out is the negative of EDM's.

    Of a diffusion model D is E[x_0 | x], and solvers and the likelihood follow its F. Of a consistency model D is the
    end of the path through x: one jump leads from noise to data, but its F is no velocity of the flow, and what solvers
    and the likelihood make of it means nothing.
    """

    def c_out(self, sigma: Sigma) -> Sigma:
        """-sigma sigma_data / sqrt(sigma^2 + sigma_data^2)."""
        return -super().c_out(sigma)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """The angle as `label` has it."""
        return self.label(jnp.arctan(sigma / self.sigma_data))

    def label(self, angle: Array) -> Array:
        """999 angle / (pi / 2): 0 to 999, as positional embeddings expect.

        It is finite and smooth at both ends, as log(sigma) is not, which a derivative by t asks for.
        """
        return (999.0 * 2.0 / math.pi) * angle

    def predict_fn(self, process: Process, network: NetworkFn) -> PredictFn:
        """The predictions, which divide by neither alpha nor sigma: alpha may be 0, where the angle is pi / 2."""

        def function(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
            side, sigma = self.sigma_data * process.alpha(t), process.sigma(t)
            length = jnp.hypot(side, sigma)
            cos, sin = expand(side / length, x), expand(sigma / length, x)
            scaled = x / expand(length, x)
            output, v = halves(network(scaled, self.label(jnp.arctan2(sigma, side))), x)
            return Prediction(self.sigma_data * (cos * scaled - sin * output), sin * scaled + cos * output, v)

        return PredictFn(process, function)


@dataclasses.dataclass(frozen=True)
class VP(Preconditioning):
    """Song et al. 2021's DDPM++: eps predicted, told the time at which the VP process has this noise, times M - 1."""

    beta_d: float = 19.9
    beta_min: float = 0.1
    M: int = 1000

    def c_noise(self, sigma: Sigma) -> Sigma:
        """(M - 1) t, where beta_d t^2 / 2 + beta_min t = log(1 + sigma^2)."""
        # The root of the quadratic in the form that keeps its digits at small sigma.
        exponent = jnp.log1p(sigma**2)
        root = jnp.sqrt(self.beta_min**2 + 2.0 * self.beta_d * exponent)
        return (self.M - 1) * 2.0 * exponent / (root + self.beta_min)


@dataclasses.dataclass(frozen=True)
class VE(Preconditioning):
    """Song et al. 2021's NCSN++ as EDM has it: sigma times the score predicted, told log(sigma / 2)."""

    def c_out(self, sigma: Sigma) -> Sigma:
        """sigma."""
        return sigma

    def c_in(self, sigma: Sigma) -> Sigma:
        """1."""
        return jnp.ones_like(sigma)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """log(sigma / 2)."""
        return jnp.log(0.5 * sigma)


@dataclasses.dataclass(frozen=True)
class IDDPM(Preconditioning):
    """Nichol and Dhariwal 2021's ADM: eps predicted, told the nearest of the M steps of the cosine schedule.

    A network that predicts a variance too has twice the image's channels; the first half is eps.
    """

    C_1: float = 0.001
    C_2: float = 0.008
    M: int = 1000

    @functools.cached_property
    def table(self) -> np.ndarray:
        """u, the M + 1 noise levels, falling to u_M = 0.

        u_(j-1) = sqrt((u_j^2 + 1) / max(abar(j-1) / abar(j), C_1) - 1), abar(j) = sin^2(pi/2 j / (M (1 + C_2))).
        Every step is rounded to float32, as it was in training: exact levels differ by 0.05 % at the low end.
        """
        f32 = np.float32
        j = np.arange(self.M + 1, dtype=f32)
        alpha_bar = np.sin(f32(0.5 * math.pi) * j / f32(self.M) / f32(self.C_2 + 1.0)) ** 2
        ratio = np.maximum(alpha_bar[:-1] / alpha_bar[1:], f32(self.C_1))
        u = np.zeros(self.M + 1, f32)
        for i in range(self.M, 0, -1):
            u[i - 1] = np.sqrt((u[i] ** 2 + f32(1.0)) / ratio[i - 1] - f32(1.0))
        return u

    def index(self, sigma: Sigma) -> Array:
        """The j of the nearest u_j."""
        return jnp.argmin(jnp.abs(jnp.asarray(sigma)[..., None] - self.table), axis=-1)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """M - 1 - j."""
        return (self.M - 1 - self.index(sigma)).astype(jnp.result_type(sigma))


PRECONDITIONINGS: dict[str, type[Preconditioning]] = {
    "edm": EDM,
    "vp": VP,
    "ve": VE,
    "iddpm": IDDPM,
    "consistency": Consistency,
    "trigflow": TrigFlow,
    "ect": ECT,
}
"""The preconditionings by name."""
