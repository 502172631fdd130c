# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/explore_maps.ipynb)
#
# # Few steps: flows, and maps along them
#
# The probability flow is a map from noise to data: every starting point has one end. A solver follows it step by step.
# A *map* is a network that jumps, from any point of a path to any later one, in one evaluation. Here the data is a
# mixture of Gaussians in the plane, whose flow is known: **every map can be held against the exact one, point by
# point**. The networks are small, and each is trained in seconds.

# %%
# On Colab this fetches and installs the project; elsewhere it does nothing.
import os
import subprocess
import sys

if "google.colab" in sys.modules and not os.path.isdir("sde_lib"):
    repository = "https://github.com/OWNER/jax-score-sde"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", repository, "project"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-e", "project"], check=True)
    os.chdir("project")

# %%
import os
import sys
from pathlib import Path

ROOT = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "sde_lib").is_dir()), Path.cwd())
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import samplers
import sde_lib
from metrics.straightness import straightness
from models.functional import Network
from samplers import Settings
from training import losses
from training.draws import Draws
from training.examples import Examples
from training.model import TrainedModel

plt.rcParams.update({
    "figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#762a83", "#666666"
STEPS = int(os.environ.get("STEPS", "6000"))  # of each training

# %% [markdown]
# ## 1. The exact flow
#
# Flow matching joins data $x_0$ and noise $\varepsilon$ by straight lines, $x_t = (1-t)\,x_0 + t\,\varepsilon$. Its
# velocity at a point is the mean over all lines through it, $v = E[\varepsilon - x_0 \mid x_t]$. For a mixture of
# Gaussians that mean is a formula.

# %%
ANGLES = 2 * np.pi * np.arange(5) / 5 + np.pi / 2
MEANS = jnp.asarray(1.35 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1))
STDS = jnp.array([0.10, 0.22, 0.14, 0.30, 0.12])
WEIGHTS = jnp.array([0.10, 0.25, 0.20, 0.30, 0.15])


def exact_model(sde):
    """The exact predictions E[x_0 | x_t] and E[eps | x_t] of the mixture along a process."""

    def pair(x, alpha, sigma):
        variance = (alpha * STDS) ** 2 + sigma**2
        offset = x - alpha * MEANS
        share = jax.nn.softmax(jnp.log(WEIGHTS / variance) - 0.5 * jnp.sum(offset**2, -1) / variance)[:, None]
        x0 = jnp.sum(share * (MEANS + (alpha * STDS**2 / variance)[:, None] * offset), 0)
        return sde_lib.Prediction(x0, jnp.sum(share * (sigma / variance)[:, None] * offset, 0))

    return sde_lib.PredictFn(sde, lambda x, t: jax.vmap(pair)(x, sde.alpha(t), sde.sigma(t)))


def real_samples(key, n):
    """Exact draws from the data."""
    pick, noise = jax.random.split(key)
    k = jax.random.choice(pick, 5, (n,), p=WEIGHTS)
    return MEANS[k] + STDS[k, None] * jax.random.normal(noise, (n, 2))


flow = sde_lib.create("flow", t_min=1e-3)
exact = exact_model(flow)
key = jax.random.key(0)
z = jax.random.normal(key, (1500, 2))
end = samplers.solve_flow(flow, exact, z, 1.0, 1e-4, rtol=1e-6, atol=1e-6).x


def draw(sde, model, start, method, evaluations, **options):
    """Samples that a method makes of starting points."""
    sampler = jax.jit(samplers.create(sde, model, Settings(method=method, evaluations=evaluations, **options)))
    return sampler(jax.random.key(1), start).x


def distance(x, truth):
    """The root mean square distance of points from where they should be."""
    return float(jnp.sqrt(jnp.mean(jnp.sum((x - truth) ** 2, axis=1))))


# %% [markdown]
# Left: where each starting point goes, coloured by its angle. Right: the same starting points after 1, 2 and 4 steps of
# Euler's method with the exact velocity. **Look at** the first: one step from noise is $z - v(z, 1)$, the mean of the
# data for every point. A solver cannot be quicker than the paths are straight.


# %%
def coloured(ax, x, title, start=z):
    """Points coloured by the angle of where they started."""
    ax.scatter(*np.asarray(x).T, c=np.arctan2(start[:, 1], start[:, 0]), cmap="twilight", s=4)
    ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xticks=[], yticks=[], aspect="equal", title=title)
    ax.spines[:].set_visible(False)


figure, axes = plt.subplots(1, 5, figsize=(13, 2.9))
coloured(axes[0], z, "noise")
coloured(axes[1], end, "exact ends")
for ax, n in zip(axes[2:], (1, 2, 4), strict=True):
    found = draw(flow, exact, z, "jump", n)
    coloured(ax, found, f"{n} step{'s' * (n > 1)}: {distance(found, end):.3f} away")
plt.show()

# %% [markdown]
# ## 2. Training without a config
#
# A loss takes the model in training and examples; the rest is a few lines of JAX.


# %%
def train(loss, meaning, *, told_end=False, teacher=None, pairs=None, steps=STEPS):
    """The averaged predictions (x, t, s) of a small network after so many steps of a loss."""
    network = Network.create("mlp", shape=(2,), width=128, depth=3, told_end=told_end)
    variables = network.init(jax.random.key(2))
    fixed = variables["fixed"]
    adam = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def apply(params, x, *told):
        condition = {"end": told[1][:, None]} if len(told) == 2 else None
        return network.apply({"params": params, "fixed": fixed}, x, told[0], condition)

    def step(state, number):
        params, average, target, moments = state
        of_step = jax.random.fold_in(key, number)
        draws = Draws.of(of_step, jnp.arange(256), 256)
        if pairs is None:
            x0, fields = real_samples(jax.random.fold_in(of_step, 7), 256), {}
        else:
            chosen = jax.random.randint(of_step, (256,), 0, len(pairs[0]))
            x0, fields = pairs[1][chosen], {"noise": pairs[0][chosen]}

        def mean_loss(params):
            model = TrainedModel(apply, params, meaning, target=target, teacher=teacher, step=number)
            return loss(model, Examples(x0, fields, draws))["loss"].mean()

        updates, moments = adam.update(jax.grad(mean_loss)(params), moments)
        params = optax.apply_updates(params, updates)
        average = optax.incremental_update(params, average, 0.005)
        if loss.needs_target:
            target = optax.incremental_update(params, target, 1.0 - loss.target_decay(number))
        return (params, average, target, moments), None

    params = variables["params"]
    begun = params, params, params, adam.init(params)
    (_, average, *_), _ = jax.jit(lambda begun: jax.lax.scan(step, begun, jnp.arange(steps)))(begun)
    return meaning.predict_fn(loss.process, lambda x, *told: apply(average, x, *told))


velocity = sde_lib.parameterization("velocity")
learned = train(losses.create("flow_matching", flow), velocity)
print(f"the learned flow, 50 steps: {distance(draw(flow, learned, z, 'jump', 50), end):.3f} from the exact ends")

# %% [markdown]
# ## 3. Straighter paths: reflow
#
# Rectified flow trains again, on the *pairs* of the first flow: each starting point with its own end. Lines between
# such pairs hardly cross, and the velocity of the second flow hardly turns. Straightness is
# $\int E\,|x_1 - x_0 - v|^2\,dt$, and 0 for straight paths.

# %%
starts = jax.random.normal(jax.random.key(3), (20_000, 2))
ends = jax.jit(lambda x: samplers.solve_flow(flow, learned, x, 1.0, 1e-3, rtol=1e-4, atol=1e-4).x)(starts)
straight = train(losses.create("flow_matching", flow, coupling="reflow"), velocity, pairs=(starts, ends))

figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
times = np.linspace(1.0, 0.0, 41)
models = {"exact flow": exact, "learned flow": learned, "reflow": straight}
for ax, (name, model) in zip(axes, models.items(), strict=True):
    path = samplers.sample(samplers.jump(flow, model), key, z[:60], times, trajectory=True).trajectory
    ax.plot(*np.moveaxis(np.asarray(path), -1, 0), color=BLUE, lw=0.7)
    ax.scatter(*np.asarray(path[-1]).T, color=RED, s=6, zorder=2)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
    ax.set_title(f"{name}: straightness {float(straightness(flow, model, z)[1].mean()):.3f}")
    ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# ## 4. Maps, against the exact one
#
# A *consistency model* leads every point of a path to the path's end. Distilled from a teacher, here the exact flow, it
# is led to say the same at two neighbouring points of a path. A *mean flow* is told where to jump to, and learns the
# mean velocity of the way there from single examples; here without its published weight, which makes it robust in many
# dimensions and in two leads to something else than the mean.
#
# Colour in the upper row is where a starting point ends, by the angle of its end; in the lower row, how far that is
# from the exact end. **Look at** the seams: the exact map tears the plane of noise into five regions, and next to the
# seams, where neighbours go to different clusters, every smooth map errs.

# %%
edm = sde_lib.create("edm")
to_any_end = sde_lib.parameterization("velocity", told_end=True)
to_data = sde_lib.parameterization(preconditioning="trigflow")
mean_flow = losses.create("mean_flow", flow, norm_power=0.0)
consistency = losses.create("consistency", edm, total_steps=STEPS, end_scales=60)
trained = {
    "mean flow": (flow, train(mean_flow, to_any_end, told_end=True)),
    "consistency, distilled": (edm, train(consistency, to_data, teacher=exact_model(edm))),
}


# %%
def plane(extent, n):
    """Grid points [n * n, 2] on the square of that half-width."""
    axis = np.linspace(-extent, extent, n)
    return jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))


N = 120
grid = plane(3.0, N)
wanted = samplers.solve_flow(flow, exact, grid, 1.0, 1e-4, rtol=1e-5, atol=1e-5).x
shown = {"exact map": wanted, "one Euler step of reflow": draw(flow, straight, grid, "jump", 1)}
shown |= {name: draw(sde, model, sde.prior_std * grid, "jump", 1) for name, (sde, model) in trained.items()}
figure, axes = plt.subplots(2, 4, figsize=(13, 6.4))
for column, (name, found) in zip(axes.T, shown.items(), strict=True):
    angle = np.arctan2(found[:, 1], found[:, 0]).reshape(N, N)
    column[0].imshow(angle, cmap="twilight", origin="lower", extent=(-3, 3, -3, 3))
    error = jnp.linalg.norm(found - wanted, axis=1).reshape(N, N)
    column[1].imshow(error, cmap="magma", vmin=0, vmax=1.5, origin="lower", extent=(-3, 3, -3, 3))
    column[0].set(title=name, xticks=[], yticks=[])
    column[1].set(title=f"error of noise's points: {distance(found, wanted):.2f}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## 5. Quality per evaluation
#
# The distance from the exact ends, by the evaluations spent on a sample. The dashed line is a solver of order 2 on the
# exact flow, which no training can improve; the others carry the error of a network that was trained for seconds.

# %%
counts = (1, 2, 3, 4, 6, 8, 16, 32)
curves = {
    "exact flow, DPM-Solver++": (flow, exact, "dpmpp_2m", GREY),
    "learned flow, DPM-Solver++": (flow, learned, "dpmpp_2m", BLUE),
    "reflow, Euler": (flow, straight, "jump", GREEN),
    "mean flow, jumps": (flow, trained["mean flow"][1], "jump", RED),
}
figure, ax = plt.subplots(figsize=(7, 4.5))
for name, (sde, model, method, colour) in curves.items():
    errors = [distance(draw(sde, model, z, method, n, denoise="mean"), end) for n in counts]
    ax.loglog(counts, errors, "--" if model is exact else "-o", color=colour, label=name)
sde, model = trained["consistency, distilled"]
far = sde.prior_std * z
ax.scatter([1], [distance(draw(sde, model, far, "jump", 1), end)], color=PURPLE, zorder=3, label="consistency, 1 jump")
ax.set(xlabel="evaluations", ylabel="distance from the exact ends", xticks=counts, xticklabels=counts)
ax.legend()
plt.show()

# %% [markdown]
# A run trained by `main.py` is used in the same way: `run = experiment.load("runs/digits_meanflow")` has `run.sde`,
# `run.prediction`, which takes the end of a jump as a third argument, and `run.sampler("jump", evaluations=1)`. One
# network serves both: its jumps for one evaluation, and its limit, the velocity, for solvers and exact likelihoods.
