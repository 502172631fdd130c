"""Learn the score of points in the plane and draw new points with it: a whole training without a config.

    python examples/train.py

The points are two half circles. A loss of this package noises them, a small network learns what the noise was, and any
sampler follows the score that the network then stands for.
"""

import jax
import jax.numpy as jnp
import optax

import samplers
import sde_lib
from models.functional import Network
from training import losses
from training.draws import Draws
from training.examples import Examples
from training.model import TrainedModel

sde = sde_lib.create("vp")
network = Network.create("mlp", shape=(2,), width=128)
meaning = sde_lib.parameterization(prediction="eps", noise_label="t999")  # what the network's output and input mean
loss = losses.create("simple", sde, weight="uniform", time_sampling="uniform")
adam = optax.adam(1e-3)


def data(key: jax.Array, count: int) -> jax.Array:
    """Points [count, 2] on two half circles that reach into each other, with a deviation of 0.05."""
    key_angle, key_noise = jax.random.split(key)
    angle = jnp.pi * jax.random.uniform(key_angle, (count,))
    side = jnp.where(jnp.arange(count) % 2 == 0, 1.0, -1.0)
    points = jnp.stack([jnp.cos(angle) - 0.5 * side, side * (jnp.sin(angle) - 0.25)], axis=1)
    return points + 0.05 * jax.random.normal(key_noise, points.shape)


def mean_loss(params: dict, fixed: dict, x0: jax.Array, key: jax.Array) -> jax.Array:
    """The mean loss of a batch x0 [b, 2]; every example draws its time and its noise from a key of its own."""

    def apply(weights: dict, x: jax.Array, label: jax.Array) -> jax.Array:
        return network.apply({"params": weights, "fixed": fixed}, x, label)

    draws = Draws.of(key, jnp.arange(len(x0)), len(x0))
    return loss(TrainedModel(apply, params, meaning), Examples(x0, {}, draws))["loss"].mean()


@jax.jit
def train_step(params: dict, fixed: dict, moments: optax.OptState, x0: jax.Array, key: jax.Array) -> tuple:
    """The weights and Adam's moments after one step, and the loss before it."""
    value, gradient = jax.value_and_grad(mean_loss)(params, fixed, x0, key)
    updates, moments = adam.update(gradient, moments)
    return optax.apply_updates(params, updates), moments, value


def main(steps: int = 3000, batch_size: int = 256, samples: int = 1000) -> tuple[jax.Array, jax.Array]:
    """Train for so many steps, draw so many points of 20 evaluations; return the losses and the points."""
    root = jax.random.key(0)
    variables = network.init(jax.random.fold_in(root, 0))
    params, fixed = variables["params"], variables["fixed"]
    moments, found = adam.init(params), []
    for step in range(steps):
        key_data, key_loss = jax.random.split(jax.random.fold_in(root, step + 1))
        params, moments, value = train_step(params, fixed, moments, data(key_data, batch_size), key_loss)
        found.append(value)
        if step % 500 == 0 or step == steps - 1:
            print(f"step {step:5d}, loss {value:.3f}")

    predict = meaning.predict_fn(sde, lambda x, label: network.apply({"params": params, "fixed": fixed}, x, label))
    stepper = samplers.dpm_solver(sde, predict, order=2)
    times = samplers.grids.create(sde, "quadratic", 19, 1e-3)
    noise = sde.prior_sample(root, (samples, 2))
    drawn = samplers.sample(stepper, root, noise, times, denoiser=samplers.tweedie(sde, predict)).x
    distances = jnp.linalg.norm(drawn[:, None] - data(root, 2000), axis=2).min(axis=1)
    print(f"{samples} points of 20 evaluations; mean distance to the nearest of 2000 real ones {distances.mean():.3f}")
    return jnp.stack(found), drawn


if __name__ == "__main__":
    main()
