"""MeanFlow: the mean velocity of the flow between two times is learned, so that one evaluation is a jump.

    u(z, t, s) = (z_t - z_s) / (t - s),        s < t,

along a path of the probability flow, of which v is the velocity (Geng et al. 2025, arXiv:2505.13447). Differentiated in
t along the path this is the identity that u is trained to fulfil (eq. 6, 11), from single examples:

    u = v - (t - s) du/dt,        du/dt = v . grad_z u + d/dt u,        v = alpha'(t) x0 + sigma'(t) eps.

The expectation of the right-hand side over the examples behind z is that of the exact velocity, since it is linear in
v. With norm_power 0 the exact mean velocity is therefore where the expected gradient vanishes; the published adaptive
weight (norm_power 1) makes the loss robust, and this exact only where what is left of the error is symmetric.
"""

import dataclasses
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from sde_lib import expand
from training.draws import Draws
from training.examples import Examples
from training.losses.flow_matching import FlowMatching
from training.model import Scores, TrainedModel

Time = Float[Array, " b"]
Image = Float[Array, "b *d"]


@dataclasses.dataclass(frozen=True, eq=False)
class MeanFlow(FlowMatching):
    """The square of u less the right-hand side of the identity, which has no gradient, times an adaptive weight.

    One pass of `jax.jvp` gives both u and du/dt. The published code puts s = t, and the network told nothing, into the
    first rows of each device's batch; here both are drawn for each example by a key of its own, so that neither depends
    on the devices, and a condition is dropped at any s.

    Attributes:
      same_time: the share of examples with s = t, for which the loss is flow matching's.
      norm_power, norm_eps: p and c of the weight 1 / (e + c)^p, where e is the sum of an example's squared errors (eq.
        22): 0 is without, 1 as published, where every loss is nearly 1; look at "error".
      guidance_omega, guidance_kappa: the field that is learned is in place of v, for examples whose condition is told,

            omega v + (1 - omega - kappa) u(z, t, t | nothing) + kappa u(z, t, t)        (eq. 19, 20),

        whose scale of guidance is omega / (1 - kappa), at no cost in sampling. 1 and 0 are without. Each of the two
        other terms costs one evaluation more. The network must be told nothing of some (``training.label_dropout``).
      guidance_start, guidance_end: the t between which it is guided; outside it is v.

    Raises:
      ValueError: a process whose alpha and sigma are not linear in t, along which x - (t - s) u is no jump.
    """

    same_time: Annotated[float, FIELDS["training.same_time"]] = 0.75
    norm_power: Annotated[float, FIELDS["training.norm_power"]] = 1.0
    norm_eps: Annotated[float, FIELDS["training.norm_eps"]] = 0.01
    guidance_omega: Annotated[float, FIELDS["training.guidance_omega"]] = 1.0
    guidance_kappa: Annotated[float, FIELDS["training.guidance_kappa"]] = 0.0
    guidance_start: Annotated[float, FIELDS["training.guidance_start"]] = 0.0
    guidance_end: Annotated[float, FIELDS["training.guidance_end"]] = 1.0

    trains_jumps: ClassVar[bool] = True
    prediction: ClassVar[str | None] = "velocity"
    leaves_out: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        early, late = (np.asarray(self.process.rates(jnp.asarray(t))) for t in (0.25, 0.75))
        if not np.array_equal(early, late):
            raise ValueError(
                f"training.loss is 'mean_flow', and the rates of {type(self.process).__name__} change in time; its "
                "jump x - (t - s) u is for a process that is linear in time: set sde.name to 'flow'"
            )

    @property
    def guides(self) -> bool:
        """Whether the field that is learned is guided by what the network is told."""
        return (self.guidance_omega, self.guidance_kappa) != (1.0, 0.0)

    def draw_jumps(self, draws: Draws) -> tuple[Time, Time]:
        """Return t and s <= t for each example: of two draws the larger and the smaller, or twice the larger.

        With stratified times the first draw alone is stratified: both by the same strata would be the same numbers.
        """
        first = self.times(self.process, draws)
        second = dataclasses.replace(self.times, stratified=False)(self.process, draws._replace(time=draws.end))
        same = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, 0), self.same_time))(draws.end)
        t = jnp.maximum(first, second)
        return t, jnp.where(same, t, jnp.minimum(first, second))

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the scores of drawn jumps."""
        x0 = examples.x0
        t, s = (time.astype(x0.dtype) for time in self.draw_jumps(examples.draws))
        return self.at(model, examples, t, examples.draws.eps(x0), s)

    def at(self, model: TrainedModel, examples: Examples, t: Time, eps: Image, s: Time | None = None) -> Scores:
        """Return the scores of the jumps from t to s, without s to t itself, of examples with this noise.

        The "error" is the mean of an example's squared errors. The cost is one evaluation with one tangent, and what
        guidance adds.
        """
        s, x0 = t if s is None else s, examples.x0
        eps = self.coupled(examples, eps)
        z, predict = self.noised(x0, t, eps), model.predict_fn(self.process)
        v = jax.lax.stop_gradient(self.guided(model, z, t, self.process.velocity(x0, eps, t)))

        def mean_velocity(z: Image, t: Time, s: Time) -> Image:
            prediction = predict(z, t, s)
            return self.process.velocity(prediction.x0, prediction.eps, t)

        u, rate = jax.jvp(mean_velocity, (z, t, s), (v, jnp.ones_like(t), jnp.zeros_like(s)))
        errors = jnp.square(u - jax.lax.stop_gradient(v - expand(t - s, z) * rate)).reshape(len(z), -1)
        total = jnp.sum(errors, axis=1)
        weight = jax.lax.stop_gradient((total + self.norm_eps) ** -self.norm_power)
        return {"loss": weight * total, "error": jnp.mean(errors, axis=1)}

    def guided(self, model: TrainedModel, z: Image, t: Time, v: Image) -> Image:
        """Return the velocity that is learned in place of v at (z, t)."""
        omega, kappa = self.guidance_omega, self.guidance_kappa
        if not self.guides or model.told is None:
            return v
        field = omega * v
        for factor, none in ((1.0 - omega - kappa, True), (kappa, False)):
            if factor:
                prediction = model.predict_fn(self.process, none=none)(z, t)
                field += factor * self.process.velocity(prediction.x0, prediction.eps, t)
        inside = model.told & (t >= self.guidance_start) & (t <= self.guidance_end)
        return jnp.where(inside.reshape(-1, *[1] * (z.ndim - 1)), field, v)
