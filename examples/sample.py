"""Draw points of a distribution whose score is known exactly, with several samplers.

    python examples/sample.py

A mixture of Gaussians stays a mixture of Gaussians while noise is added: at time t its centres are alpha(t) c, and the
variance of each part is alpha(t)^2 s^2 + sigma(t)^2. Its score is therefore known at every time and needs no network.
"""

import jax

import samplers
import sde_lib

jnp = jax.numpy
CENTRES = jnp.array([[-1.0, -0.7], [1.0, -0.7], [0.0, 1.0]])
SHARES = jnp.array([0.5, 0.3, 0.2])
STD = 0.15

sde = sde_lib.create("vp")


def log_density(x: jax.Array, t: jax.Array) -> jax.Array:
    """The log density of the noised mixture at one point x [2] and one time t, up to a constant."""
    variance = (sde.alpha(t) * STD) ** 2 + sde.sigma(t) ** 2
    distances = jnp.sum((x - sde.alpha(t) * CENTRES) ** 2, axis=1)
    return jax.nn.logsumexp(jnp.log(SHARES) - distances / (2 * variance)) - jnp.log(variance)


score = jax.vmap(jax.grad(log_density))  # (x [b, 2], t [b]) -> [b, 2], which is all that a sampler needs


def describe(x: jax.Array) -> str:
    """The share of the points at each centre, and their root mean square distance from it in each direction."""
    distances = jnp.sum((x[:, None] - CENTRES) ** 2, axis=2)
    shares = jnp.mean(jax.nn.one_hot(jnp.argmin(distances, axis=1), len(CENTRES)), axis=0)
    return f"{'  '.join(f'{share:.3f}' for share in shares)}  {jnp.sqrt(distances.min(axis=1).mean() / 2):.3f}"


def picture(x: jax.Array, rows: int = 16, columns: int = 48) -> str:
    """The points in the square from -2 to 2, as text: the more points, the darker the sign."""
    counts = jnp.histogram2d(-x[:, 1], x[:, 0], (rows, columns), [[-2, 2], [-2, 2]])[0]
    signs = jnp.ceil(5 * jnp.sqrt(counts / counts.max())).astype(int)
    return "\n".join("".join(" .:+*#"[i] for i in row) for row in signs.tolist())


def main(samples: int = 4000, steps: int = 500) -> dict[str, jax.Array]:
    """Draw so many samples with every sampler, print what they are like, and return them by the sampler's name."""
    few = samplers.grids.create(sde, "quadratic", 15, 1e-3)  # 15 steps, which become finer towards the data
    many = samplers.grids.create(sde, "uniform", steps, 1e-3)
    correct = samplers.langevin(sde, score, snr=0.1, corrector_norm="batch")
    methods = {
        "Euler-Maruyama": (samplers.euler_maruyama(sde, score), many),
        "predictor-corrector": (samplers.predictor_corrector(samplers.reverse_diffusion(sde, score), correct), many),
        "DDIM": (samplers.ddim(sde, score), few),
        "DPM-Solver++ 2M": (samplers.dpm_solver(sde, score, order=2), few),
        "UniPC 3": (samplers.unipc(sde, score, order=3), few),
    }
    print(f"{'':20s} evaluations  share of the points at each centre  deviation")
    print(f"{'exact':20s} {'':11s}  {'  '.join(f'{share:.3f}' for share in SHARES)}  {STD:.3f}")
    noise = sde.prior_sample(jax.random.key(0), (samples, 2))
    found = {}
    for name, (stepper, times) in methods.items():
        drawn = samplers.sample(stepper, jax.random.key(1), noise, times, denoiser=samplers.tweedie(sde, score))
        found[name] = drawn.x
        print(f"{name:20s} {drawn.evaluations[0]:11d}  {describe(drawn.x)}")
    print(picture(drawn.x))
    return found


if __name__ == "__main__":
    main()
