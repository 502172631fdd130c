"""Continuous-time consistency training and distillation (Lu and Song 2024, arXiv:2410.11081, "sCM").

The noise is an angle t: x_t = cos(t) x0 + sin(t) z with z = sigma_data eps, and the network F of the preconditioning
"trigflow" says where the path through x_t ends, f = cos(t) x_t - sin(t) sigma_data F. At the exact map f does not
change along the path, df/dt = 0. The network follows the tangent (their Algorithm 1)

    g = -cos(t)^2 (sigma_data F - dx/dt) - r cos(t) sin(t) (x_t + sigma_data dF/dt),

which at r = 1 is cos(t) df/dt; r rises from 0 to 1 in a warm-up, since the second part is noisy until F is smooth in t.
dx/dt is the velocity of the flow: cos(t) z - sin(t) x0 of the example itself (training, unbiased), or a teacher's
(distillation). dF/dt is one forward derivative through the network, with the dropout of F itself. Their code gives that
derivative the tangents times cos(t) sin(t), which keeps it finite at both ends; so do we.

    loss = e^(-u(t)) w(t) mean |F - sg(F + g / (|g| + c))|^2 + u(t),        w(t) = 1 / (sigma_data tan t),

where sg stops the gradient, |g| is the norm over the whole image, and the mean is over its numbers, once: NVlabs'
FastGen averages and divides by their number again. u is learned (`Uncertainty`), and makes the expected first part 1 at
every noise.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from experiment.ranges import FIELDS
from sde_lib import AffineSDE, PredictFn, Prediction, expand
from sde_lib.prediction import along, before_noise
from training.examples import Examples
from training.losses.base import NoisedLoss
from training.model import Scores, TrainedModel

Angle = Float[Array, " b"]
Image = Float[Array, "b *d"]


@dataclasses.dataclass(frozen=True)
class Angles(AffineSDE):
    """alpha = cos t and sigma = sigma_data sin t: the process whose time is the angle itself, 0 to pi / 2."""

    sigma_data: float = 0.5

    def alpha(self, t: Array) -> Array:
        """cos t."""
        return jnp.cos(t)

    def sigma(self, t: Array) -> Array:
        """sigma_data sin t."""
        return self.sigma_data * jnp.sin(t)

    def of(self, process: AffineSDE, t: Array) -> Array:
        """Return the angle at which the noise is that of another process at t."""
        return jnp.arctan2(process.sigma(t), self.sigma_data * process.alpha(t))


ANGLES = Angles()
"""Those of the preconditioning "trigflow", with its sigma_data."""


def tangent(predict: PredictFn, x: Image, angle: Angle, velocity: Image, r: Array | float = 1.0) -> tuple[Image, Image]:
    """Return F and g of predictions along `ANGLES`; one evaluation and its derivative. g has no gradient.

    Args:
      predict: x0 is where the path through x is said to end.
      x, angle: the points x_t, and t.
      velocity: dx/dt.
      r: the share of the second part.
    """
    cos, sin = (expand(part, x) for part in (jnp.cos(angle), jnp.sin(angle)))

    def network(x: Image, angle: Angle) -> Image:
        return ANGLES.velocity(*predict(x, angle)[:2], angle) / ANGLES.sigma_data

    speed = jnp.cos(angle) * jnp.sin(angle)
    found, derivative = jax.jvp(network, (x, angle), (cos * sin * velocity, speed))
    first = cos**2 * (ANGLES.sigma_data * found - velocity)
    return found, jax.lax.stop_gradient(-first - r * (cos * sin * x + ANGLES.sigma_data * derivative))


def normalized(g: Image, c: float) -> Image:
    """Return g / (|g| + c), |g| over all numbers of an example."""
    return g / (expand(jnp.sqrt(jnp.sum(g.reshape(len(g), -1) ** 2, axis=1)), g) + c)


def moved(value: Image, g: Image) -> Float[Array, " b"]:
    """Return the mean of |value - sg(value + g)|^2, whose gradient is -2 g in the mean's place: value goes along g."""
    difference = value - jax.lax.stop_gradient(value + g)
    return jnp.mean(jnp.square(difference).reshape(len(value), -1), axis=1)


class Uncertainty(NamedTuple):
    """u(t), linear in the cosines of 0, 2 t, 4 t, ...: it descends e^(-u) error + u, so e^u becomes the mean error.

    Its few numbers are the loss's state rather than the network's parameters: they are trained by Adam beside it, in
    every training step, and checkpoints of the network hold nothing of the loss.

    Attributes:
      weights: of the cosines, [k].
      updates, mean, square: Adam's number of steps and two moments.
    """

    weights: Float[Array, " k"]
    updates: Int[Array, ""]
    mean: Float[Array, " k"]
    square: Float[Array, " k"]

    @classmethod
    def create(cls, features: int = 8) -> "Uncertainty":
        """Return u = 0."""
        zeros = jnp.zeros(features, float)
        return cls(zeros, jnp.zeros((), jnp.int32), zeros, zeros)

    def __call__(self, angle: Angle) -> Float[Array, " b"]:
        """Return u at these angles."""
        return jnp.cos(2.0 * angle[:, None] * jnp.arange(len(self.weights))) @ self.weights.astype(angle.dtype)

    def updated(self, angle: Angle, errors: Float[Array, " b"]) -> "Uncertainty":
        """Return it after one step of Adam, at a rate of 0.01."""
        adam = optax.scale_by_adam(b2=0.99)

        def loss(weights: Array) -> Array:
            u = self._replace(weights=weights)(angle)
            return jnp.mean(jnp.exp(-u) * errors + u)

        state = optax.ScaleByAdamState(self.updates, self.mean, self.square)
        step, (updates, mean, square) = adam.update(jax.grad(loss)(self.weights), state)
        return Uncertainty(self.weights - 0.01 * step, updates, mean, square)


@dataclasses.dataclass(frozen=True, eq=False)
class ContinuousConsistency(NoisedLoss):
    """The loss of the module's description, on any process; with ``training.teacher`` its velocity takes dx/dt's place.

    Published: times "lognormal" with P_mean -1 and P_std 1.4. Where alpha is 0 the time just below is trained.

    Attributes:
      tangent_warmup: the steps in which r rises to 1; 0: it is 1.
      tangent_c: c of the normalisation.

    Raises:
      ValueError: noise levels, which have no velocity.
    """

    process: AffineSDE
    tangent_warmup: Annotated[int, FIELDS["training.tangent_warmup"]] = 10_000
    tangent_c: Annotated[float, FIELDS["training.tangent_c"]] = 0.1
    of_levels = False
    takes_teacher = True
    preconditioning = "trigflow"

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Image) -> Scores:
        """Return w(t) times the squared error of examples with this noise at these times, and their angles.

        It costs one network evaluation and its derivative, and one of the teacher.
        """
        angle = ANGLES.of(self.process, before_noise(self.process, t))
        mean, std = ANGLES.marginal(examples.x0, angle)
        x, pair = mean + expand(std, mean) * eps, Prediction(examples.x0, eps)
        if model.teacher is not None:
            pair = along(ANGLES, model.teacher)(x, angle)
        r = jnp.ones(()) if model.step is None or not self.tangent_warmup else model.step / self.tangent_warmup
        velocity = ANGLES.velocity(pair.x0, pair.eps, angle)
        found, g = tangent(model.predict_fn(ANGLES), x, angle, velocity, jnp.minimum(r, 1.0).astype(x.dtype))
        prior = ANGLES.alpha(angle) / ANGLES.sigma(angle)
        return {"loss": prior * moved(found, normalized(g, self.tangent_c)), "angle": angle}

    def init(self) -> Any:
        """Return u = 0."""
        return Uncertainty.create()

    def __call__(self, model: TrainedModel, examples: Examples, state: Uncertainty | None = None) -> Scores:
        """Return the scores at drawn times; without a state u is 0."""
        scores = super().__call__(model, examples)
        if state is None:
            return scores
        u, error = state(scores["angle"]), scores["loss"]
        return scores | {"loss": jnp.exp(-u) * error + u, "error": error}

    def updated(self, state: Any, scores: Scores) -> Any:
        """Return u after a step by the errors of a batch."""
        return state and state.updated(scores["angle"], scores["error"])
