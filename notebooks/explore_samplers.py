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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/explore_samplers.ipynb)
#
# # One score, every sampler
#
# A diffusion model noises data, $x_t = \alpha(t)\,x_0 + \sigma(t)\,\varepsilon$, and samples by following the score
# $\nabla_x \log p_t(x)$ back from noise. Here the data is a mixture of Gaussians in the plane. Its noised densities and
# their scores are known in closed form, so there is no network, nothing is trained, and **every error you see is the
# sampler's own**. Everything is in float64 for the same reason.
#
# A trained network enters through the same door: a function `score(x, t)`. The last section loads one.

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
import contextlib
import io
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
from matplotlib.collections import LineCollection

import samplers
import sde_lib
from metrics.likelihood import log_likelihood
from samplers import Settings
from samplers.methods import STOCHASTIC

jax.config.update("jax_enable_x64", True)
plt.rcParams.update({
    "figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "Blues",
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#762a83", "#666666"

# %% [markdown]
# ## 1. The data and its score
#
# Noising keeps a mixture a mixture: component $k$, $N(\mu_k, s_k^2 I)$, becomes
# $N(\alpha\mu_k,\ (\alpha^2 s_k^2 + \sigma^2) I)$. The log-density is one `logsumexp`, and its gradient is the score.

# %%
ANGLES = 2 * np.pi * np.arange(5) / 5 + np.pi / 2
MEANS = 1.35 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
STDS = np.array([0.10, 0.22, 0.14, 0.30, 0.12])
WEIGHTS = np.array([0.10, 0.25, 0.20, 0.30, 0.15])


@jax.jit
def log_density(x, alpha=1.0, sigma=0.0):
    """log p(x) of the mixture noised to (alpha, sigma), x [..., 2]."""
    variance = (alpha * STDS) ** 2 + sigma**2
    squares = jnp.sum((x[..., None, :] - alpha * MEANS) ** 2, -1)
    return jax.nn.logsumexp(jnp.log(WEIGHTS / (2 * jnp.pi * variance)) - 0.5 * squares / variance, axis=-1)


def score_of(sde):
    """The exact score of the noised data: all that a sampler needs."""
    gradient = jax.vmap(jax.grad(log_density))
    return jax.jit(lambda x, t: gradient(x, sde.alpha(t), sde.sigma(t)))


def real_samples(seed, n):
    """Exact draws from the data."""
    rng = np.random.default_rng(seed)
    k = rng.choice(len(WEIGHTS), n, p=WEIGHTS)
    return MEANS[k] + STDS[k, None] * rng.standard_normal((n, 2))


sde = sde_lib.create("vp")  # variance preserving: the data fades as the noise grows, and ends as N(0, I)
score = score_of(sde)
key = jax.random.key(0)

# %% [markdown]
# Colour is the density $p_t$; an arrow is $\sigma(t)\,\nabla\log p_t$, the score in units of the noise.
# **Look at** how long the field only points to the middle: at $t = 0.35$ there is one blob, at 0.1 five
# clusters. Which of them a sample belongs to is decided in between.


# %%
def plane(extent, n):
    """Grid points [n, n, 2] on the square of that half-width."""
    axis = np.linspace(-extent, extent, n)
    return np.stack(np.meshgrid(axis, axis), -1)


def square(ax, extent=2.4):
    """A square panel without ticks."""
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


fine, coarse = plane(2.8, 120), plane(2.5, 15)
figure, axes = plt.subplots(1, 5, figsize=(13, 3))
for ax, t in zip(axes, (0.001, 0.1, 0.2, 0.35, 0.6), strict=True):
    alpha, sigma = (float(c(jnp.asarray(t))) for c in (sde.alpha, sde.sigma))
    ax.contourf(*np.moveaxis(fine, -1, 0), np.exp(log_density(fine, alpha, sigma)) ** 0.5, levels=10)
    arrows = sigma * np.asarray(score(coarse.reshape(-1, 2), np.full(coarse.shape[0] ** 2, t)))
    ax.quiver(*coarse.reshape(-1, 2).T, *arrows.T, color=RED, angles="xy", width=0.006)
    ax.set_title(rf"$t={t}$:  $\alpha={alpha:.2f},\ \sigma={sigma:.2f}$")
    square(ax, 2.8)
plt.show()

# %% [markdown]
# ## 2. Two ways back: a random path and a flow
#
# Both of these have the marginals $p_t$ at every $t$:
#
# * the **reverse SDE**, $dx = [f x - g^2\,\nabla\log p_t]\,dt + g\,d\bar w$, random;
# * the **probability flow**, $dx/dt = f x - \tfrac12 g^2\,\nabla\log p_t$, deterministic.
#
# **Look at** the third panel: the reverse SDE started eight times *at one point* reaches several clusters. Under
# the flow each starting point has one end, so noise can serve as a code for the data (section 6). The paths begin
# at $t = 0.4$: what comes before decides little.


# %%
def draw_paths(ax, paths, title):
    """Paths [n + 1, b, 2] coloured by time, their ends as dots."""
    ax.contour(*np.moveaxis(fine, -1, 0), np.exp(log_density(fine)), levels=6, colors="0.75", linewidths=0.7)
    paths, colours = np.asarray(paths), np.asarray(TIMES[1:])
    for path in np.moveaxis(paths, 1, 0):
        lines = LineCollection(np.stack([path[:-1], path[1:]], 1), array=colours, cmap="plasma", linewidths=0.9)
        ax.add_collection(lines)
    ax.scatter(*paths[0].T, s=16, facecolor="white", edgecolor="black", zorder=3)
    ax.scatter(*paths[-1].T, s=16, color="black", zorder=3)
    ax.set_title(title)
    square(ax)
    return lines


TIMES = jnp.linspace(0.4, 1e-3, 201)
noise = jax.random.normal(jax.random.fold_in(key, 1), (10, 2))
start = sde.alpha(TIMES[0]) * real_samples(5, 10) + sde.sigma(TIMES[0]) * noise  # exact draws of p_t at t = 0.4


@jax.jit
def flow_paths(x):
    return samplers.sample(samplers.flow_heun(sde, score), key, x, TIMES, trajectory=True).trajectory


@jax.jit
def random_paths(x):
    return samplers.sample(samplers.euler_maruyama(sde, score), key, x, TIMES, trajectory=True).trajectory


figure, axes = plt.subplots(1, 3, figsize=(12.5, 4))
draw_paths(axes[0], flow_paths(start), "flow")
draw_paths(axes[1], random_paths(start)[:, :4], "reverse SDE, four of the starting points")
lines = draw_paths(axes[2], random_paths(jnp.tile(start[:1], (8, 1))), "reverse SDE, one starting point")
figure.colorbar(lines, ax=axes, label="t  (white dots 0.4, black dots 0)", shrink=0.8)
plt.show()

# %% [markdown]
# ## 3. Every sampler at the same price
#
# Cost is counted in score evaluations (NFE); for a network nothing else matters. Predictor-corrector and Heun
# spend two a step, so they take half as many steps. Each method is one `Settings`; the score is the same throughout.
# The number is the sliced Wasserstein distance (mean over directions of the 1-D distance between projections) divided
# by its **floor**, the distance between two sets of real samples of the same size: about 1, or by luck below, means
# *indistinguishable at this sample size*.
#
# **Look at** the small clusters. Ancestral sampling makes them too narrow: its default variance ('small') is that
# of the posterior for a single data point. Langevin leaves stray points between the clusters: at 64 evaluations it
# has had only 32 steps, and it errs by its own step size, `snr`, however many there are.

# %%
N = 3_000


def wasserstein(x, y):
    """Sliced 1-Wasserstein distance between two sets of equal size."""
    angle = np.pi * np.arange(32) / 32
    directions = np.stack([np.cos(angle), np.sin(angle)])
    return np.abs(np.sort(np.asarray(x) @ directions, 0) - np.sort(np.asarray(y) @ directions, 0)).mean()


REAL = real_samples(0, N)
FLOORS = [wasserstein(REAL, real_samples(seed, N)) for seed in range(1, 17)]
FLOOR = np.mean(FLOORS)


def method(name, nfe, **options):
    """Settings that spend `nfe` evaluations, the last of them on the denoising step to data."""
    steps = nfe // 2 if name in ("pc", "flow_heun") else nfe
    return Settings(method=name, steps=steps, flow_steps=steps, **options)


def draw(settings, n=N, sde=sde, score=score, seed=0):
    """n samples of that sampler."""
    sampler = samplers.create(sde, score, settings)
    return jax.jit(lambda key: samplers.draw(sampler, sde, key, (n, 2)))(jax.random.key(seed))


METHODS = {
    "Euler-Maruyama": lambda nfe: method("euler_maruyama", nfe),
    "reverse diffusion": lambda nfe: method("reverse_diffusion", nfe),
    "ancestral": lambda nfe: method("ancestral", nfe),
    "PC, Langevin": lambda nfe: method("pc", nfe, corrector="langevin", corrector_norm="batch"),
    "PC, annealed Langevin": lambda nfe: method("pc", nfe, corrector="ald"),
    "flow, Euler": lambda nfe: method("flow_euler", nfe),
    "flow, Heun": lambda nfe: method("flow_heun", nfe),
    "flow, adaptive": lambda nfe: Settings(method="ode", rtol=1e-3, atol=1e-3),
}

figure, axes = plt.subplots(2, 4, figsize=(12.5, 6.6))
for ax, (name, settings) in zip(axes.flat, METHODS.items(), strict=True):
    out = draw(settings(64))
    ax.scatter(*np.asarray(out.x[:2000]).T, s=1.5, color=BLUE, alpha=0.5, linewidths=0)
    ax.contour(*np.moveaxis(fine, -1, 0), log_density(fine), levels=[-5, -3, -1], colors=ORANGE, linewidths=0.8)
    ax.set_title(f"{name}\n{out.evaluations.mean():.0f} NFE, {wasserstein(out.x, REAL) / FLOOR:.1f} x floor")
    square(ax, 2.3)
plt.show()

# %% [markdown]
# ### Few evaluations
#
# The few-step solvers are counted in evaluations, and each takes the grid that suits it unless it is told another.
# Below is **every one that there is**, at 10 evaluations, where the methods above have hardly begun.
#
# **Look at** how unequal they are at the same price. Multistep solvers, one evaluation a step, are at the floor or near
# it (`dpm_solver_2m`, `deis`, `ipndm`). Those that spend two or three on a step (`heun`, `dpm_2`, `dpm_solver_3s`) have
# made half or a third as many steps. The last four add noise on the way; at so few evaluations that costs more than it
# mends.

# %%
FEW = {name: Settings(method=name, evaluations=10) for name in samplers.SOLVERS if name not in STOCHASTIC}
FEW |= {name: Settings(method=name, evaluations=10) for name in STOCHASTIC}

figure, axes = plt.subplots(3, 7, figsize=(13, 6.4))
for ax, (name, settings) in zip(axes.flat, FEW.items(), strict=True):
    out = draw(settings)
    ax.scatter(*np.asarray(out.x[:1500]).T, s=1, color=BLUE, alpha=0.5, linewidths=0)
    ax.contour(*np.moveaxis(fine, -1, 0), log_density(fine), levels=[-3, -1], colors=ORANGE, linewidths=0.7)
    ax.set_title(f"{name}\n{wasserstein(out.x, REAL) / FLOOR:.1f} x floor", fontsize=9)
    square(ax, 2.3)
plt.show()

# %% [markdown]
# ## 4. Error against cost
#
# **Left:** the flow has one right answer for each starting point, so the error is exact: the distance to the end of the
# same flow solved at a tolerance of $10^{-9}$ (median over 200 starting points). The slope on logarithmic axes is the
# order of the method: Euler 1, Heun 2.
#
# **Right:** a stochastic sampler is right when its samples have the right distribution. Within the grey
# band nothing can be told apart with this many samples.

# %%
z = sde.prior_sample(jax.random.fold_in(key, 2), (200, 2))
truth = jax.jit(lambda z: samplers.solve_flow(sde, score, z, 1.0, 1e-3, rtol=1e-9, atol=1e-9).x)(z)


def flow_error(settings):
    """(NFE, median distance to the true end of the flow)."""
    out = jax.jit(samplers.create(sde, score, settings))(key, z)
    return out.evaluations.mean(), jnp.median(jnp.linalg.norm(out.x - truth, axis=1))


figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 4.6))
budgets = (16, 64, 256)
for name, label, colour in (("flow_euler", "Euler", ORANGE), ("flow_heun", "Heun", BLUE)):
    nfe, error = np.array([flow_error(method(name, nfe, denoise="none")) for nfe in budgets]).T
    slope = np.polyfit(np.log(nfe[-2:]), np.log(error[-2:]), 1)[0]
    left.loglog(nfe, error, "o-", color=colour, label=f"{label}, order {-slope:.2f}")
tolerances = (1e-2, 1e-4, 1e-6)
nfe, error = np.array([flow_error(Settings(method="ode", rtol=tol, atol=tol, denoise="none")) for tol in tolerances]).T
left.loglog(nfe, error, "s-", color=GREEN, label="adaptive (Dormand-Prince 5), tolerance $10^{-2}$ to $10^{-6}$")
left.set(xlabel="score evaluations", ylabel="median distance to the true end", title="flow methods: exact error")
left.legend(loc="lower left")

COLOURS = (ORANGE, None, PURPLE, None, GREEN, None, BLUE)
for (name, settings), colour in zip(METHODS.items(), COLOURS, strict=False):
    if colour is not None:
        found = [wasserstein(draw(settings(nfe)).x, REAL) for nfe in budgets]
        right.loglog(budgets, found, "s--" if name.startswith("flow") else "o-", ms=4, color=colour, label=name)
right.axhspan(min(FLOORS), max(FLOORS), color="0.88", lw=0, label="real against real, 16 draws")
right.set(xlabel="score evaluations", ylabel="sliced Wasserstein distance", title="distance between distributions")
right.legend(fontsize=9)
for ax in (left, right):
    ax.set_xticks(budgets, budgets)
    ax.minorticks_off()
plt.show()

# %% [markdown]
# **Look at** the crossing on the left: with few evaluations Euler beats Heun, whose steps are twice as long; from
# then on order pays, and the adaptive method of order 5 wins wherever accuracy is asked for. On the right the flow is
# the cheapest, and at 256 evaluations all are inside the band. Predictor-corrector does not pay *here*: the score is
# exact, the corrector has only the predictor's own error to mend, and it costs half of the steps. Its published
# gains are with learned scores.
#
# ### What `snr` means
#
# A corrector is Langevin dynamics at fixed $t$: $x \leftarrow x + h\,\nabla\log p_t + \sqrt{2h}\,z$. `snr` is the
# length of the drift term over that of the noise term, so it sets the step $h$. Below, the corrector runs *alone* at
# $t = 0.2$ from a wrong start: the right clusters, in the wrong proportions and too wide.
# **Look at** the trade: a small `snr` converges slowly, a large one fast, but to the wrong place (a long step errs).
#
# The right panel is a trap in few dimensions. With `corrector_norm='sample'`, the default, each point takes a
# step by its own $|\nabla\log p_t|$. In images this length hardly varies. In the plane it does, and a step
# that depends on where it is taken changes the distribution: points flee from where the score vanishes. Use `'batch'`
# or annealed Langevin ('ald') here.


# %%
def corrected(corrector, x, t, steps):
    """Corrector steps alone: a grid of times that stands still. [steps + 1, b, 2]."""
    times = jnp.full(steps + 1, t)
    return np.asarray(jax.jit(lambda x: samplers.sample(corrector, key, x, times, trajectory=True))(x).trajectory)


T, STEPS = 0.2, 128
alpha, sigma = (float(c(jnp.asarray(T))) for c in (sde.alpha, sde.sigma))
rng = np.random.default_rng(3)
target = alpha * REAL + sigma * rng.standard_normal((N, 2))
floor = wasserstein(target, alpha * real_samples(1, N) + sigma * rng.standard_normal((N, 2)))
wrong = alpha * MEANS[rng.integers(5, size=N)] + 1.3 * sigma * rng.standard_normal((N, 2))

figure, axes = plt.subplots(1, 3, figsize=(12.5, 4), width_ratios=(1.5, 1, 1))
shown = 2 ** np.arange(8)
for snr, colour in ((0.05, GREY), (0.16, BLUE), (0.5, ORANGE), (0.9, RED)):
    path = corrected(samplers.annealed_langevin(sde, score, snr=snr), wrong, T, STEPS)
    axes[0].loglog(shown, [wasserstein(path[k], target) for k in shown], "o-", ms=4, color=colour, label=f"snr {snr}")
axes[0].axhline(floor, color="black", ls=":", label="real against real")
axes[0].set(
    xlabel="corrector steps at t = 0.2",
    ylabel="sliced Wasserstein to $p_t$",
    title="annealed Langevin",
    ylim=(0.009, 0.2),
)
axes[0].legend(fontsize=8, ncols=2, loc="lower left")
for ax, norm in zip(axes[1:], ("batch", "sample"), strict=True):
    end = corrected(samplers.langevin(sde, score, snr=0.3, corrector_norm=norm), target, T, STEPS)[-1]
    ax.scatter(*end[:3000].T, s=1.5, color=BLUE, alpha=0.5, linewidths=0)
    ax.contour(*np.moveaxis(fine, -1, 0), log_density(fine, alpha, sigma), levels=[-5, -4, -3], colors=ORANGE)
    ax.set_title(f"Langevin, norm '{norm}', from $p_t$ itself\n{wasserstein(end, target) / floor:.1f} x floor")
    square(ax, 2.6)
plt.show()

# %% [markdown]
# ## 5. Another SDE is another word
#
# `vp`, `subvp` and `ve` differ only in $\alpha(t)$ and $\sigma(t)$; score and samplers do not change.
# Shown is the first coordinate over time, divided by $\sqrt{\alpha^2 + \sigma^2}$ so that all three fit: the exact
# density, three flows (blue) and three reverse-SDE paths (orange) from the same starting points.
# **Look at** where each process spends its time: VE, whose noise grows geometrically, separates
# the clusters at much larger $t$ than VP does, so its grid has more steps left near the data.


# %%
def first_coordinate_density(sde, u, t):
    """Density of x_1 / sqrt(alpha^2 + sigma^2) at u: the mixture's marginal."""
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    unit = jnp.sqrt(alpha**2 + sigma**2)
    std = jnp.sqrt((alpha * STDS) ** 2 + sigma**2) / unit
    z = (u[:, None] - alpha * MEANS[:, 0] / unit) / std
    return jnp.sum(WEIGHTS * jnp.exp(-0.5 * z**2) / std, axis=1)


PROCESSES = {
    "vp": sde_lib.create("vp"),
    "subvp": sde_lib.create("subvp"),
    "ve": sde_lib.create("ve", sigma_min=0.01, sigma_max=20.0),
}
figure, axes = plt.subplots(2, 3, figsize=(12.5, 7), height_ratios=(1, 1.25))
u, grid = jnp.linspace(-2.4, 2.4, 160), jnp.linspace(1, 1e-3, 201)
for (top, bottom), (name, process) in zip(axes.T, PROCESSES.items(), strict=True):
    density = jax.vmap(lambda t, p=process: first_coordinate_density(p, u, t))(grid[::-1])
    density = (density / density.max(1, keepdims=True)).T
    top.imshow(density, extent=(0, 1, -2.4, 2.4), origin="lower", aspect="auto", cmap="Greys", vmax=1.8)
    unit = np.sqrt(process.alpha(grid) ** 2 + process.sigma(grid) ** 2)
    z = process.prior_std * jnp.array([[-1.0, 0.3], [0.1, 0.9], [0.8, -0.6]])
    for stepper, colours in (
        (samplers.euler_maruyama, (ORANGE, RED, "gold")),
        (samplers.flow_heun, (BLUE,) * 3),
    ):
        paths = np.asarray(
            samplers.sample(stepper(process, score_of(process)), jax.random.key(3), z, grid, trajectory=True).trajectory
        )
        for i, colour in enumerate(colours):
            top.plot(grid, paths[:, i, 0] / unit, color=colour, lw=1.8 if colour == BLUE else 0.9)
    top.set(title=name, xlabel="t  (data left, noise right)", ylim=(-2.4, 2.4))
    out = draw(method("euler_maruyama", 256), sde=process, score=score_of(process))
    bottom.scatter(*np.asarray(out.x[:2000]).T, s=1.5, color=BLUE, alpha=0.5, linewidths=0)
    bottom.contour(*np.moveaxis(fine, -1, 0), log_density(fine), levels=[-5, -3, -1], colors=ORANGE, linewidths=0.8)
    bottom.set_title(f"Euler-Maruyama, 256 steps: {wasserstein(out.x, REAL) / FLOOR:.1f} x floor")
    square(bottom, 2.3)
axes[0, 0].set_ylabel(r"$x_1 / \sqrt{\alpha^2 + \sigma^2}$")
plt.show()

# %% [markdown]
# ## 6. The flow read forwards: codes and likelihood
#
# Run from data to noise, the flow turns each point into a latent, and the divergence summed along the way gives the
# log-density of that point. `log_likelihood` returns both from one solve. In the plane the divergence is exact
# (`probe="exact"`); for images it is estimated with random probes.
#
# The density is that of $p_{t_{min}}$, $t_{min} = 10^{-5}$, which the closed form gives as well.
# **Look at** how the error falls with the tolerance and then stops: what remains is not the
# solver's, it is the difference between $p_1$ and the Gaussian prior that the likelihood puts in its place.

# %%
points = jnp.asarray(real_samples(4, 300))
t_min = jnp.asarray(sde.t_min)
exact = log_density(points, sde.alpha(t_min), sde.sigma(t_min))
print(f"exact mean log p: {exact.mean():.6f}")
print(f"{'tolerance':>10} {'NFE':>6} {'mean log p':>11} {'largest error (nats)':>21}")
for tolerance in (1e-3, 1e-5, 1e-7):
    result = jax.jit(lambda x, tol=tolerance: log_likelihood(sde, score, x, probe="exact", rtol=tol, atol=tol))(points)
    errors = jnp.abs(result.nats - exact)
    print(f"{tolerance:10.0e} {result.evaluations.mean():6.0f} {result.nats.mean():11.6f} {errors.max():21.1e}")

latents = result.latents
decoded = jax.jit(lambda x: samplers.solve_flow(sde, score, x, 1.0, sde.t_min, rtol=1e-7, atol=1e-7).x)(latents)
print(f"\nencoded, then decoded: largest difference {jnp.abs(decoded - points).max():.1e}")

# %% [markdown]
# **Look at** the latents: each cluster becomes a sector of the Gaussian with its share of the
# mass, and neighbours stay neighbours.

# %%
cluster = np.argmin(np.linalg.norm(np.asarray(points)[:, None] - MEANS, axis=-1), axis=1)
figure, axes = plt.subplots(1, 4, figsize=(13, 3.5))
for ax, x, title in zip(axes, (points, latents, decoded), ("data", "latents (encoded)", "decoded"), strict=False):
    ax.scatter(*np.asarray(x).T, s=6, c=np.array([RED, GREEN, BLUE, ORANGE, PURPLE])[cluster], linewidths=0)
    ax.set_title(title)
    square(ax, 3.2 if "latents" in title else 2.3)
axes[3].plot([-9, 2], [-9, 2], color="0.8", lw=4, zorder=0)
axes[3].scatter(exact, result.nats, s=5, color=BLUE, linewidths=0)
axes[3].set(xlabel="exact log p (nats)", ylabel="by the flow", title="log-likelihood", aspect="equal")
plt.show()

# %% [markdown]
# ## 7. The same samplers on a trained network
#
# Only the score changes. This reads the digits that come with the project, or any run of `main.py` whose folder the
# environment variable `RUN` names: its own config, its network, its averaged weights.

# %%
from experiment import load
from experiment.pictures import image_grid

jax.config.update("jax_enable_x64", False)  # networks compute in float32
run = load(os.environ.get("RUN", "digits"))
count = run.experiment.network.count()
print(f"{run.config.data.dataset}, SDE {run.config.sde.name}, step {run.step}, {count:,} parameters")

# %%
test = run.experiment.source.test
grids = {"test set (real)": np.stack([test[i]["image"] for i in range(36)])}
for name in ("euler_maruyama", "ancestral", "pc", "flow_heun", "ode", "dpmpp_2m", "unipc_3"):
    with contextlib.redirect_stderr(io.StringIO()):  # which would show how far it is
        out = run.sampler(name)(jax.random.key(1), 36)
    grids[f"{name}, {out.evaluations.mean():.0f} NFE"] = out.x
figure, axes = plt.subplots(1, len(grids), figsize=(14, 2.4))
for ax, (title, levels) in zip(axes, grids.items(), strict=True):
    ax.imshow(image_grid(run.codec.stretch(levels), columns=6), cmap="gray", vmin=0, vmax=255)
    ax.set_title(title, fontsize=9)
    ax.axis("off")
plt.show()
