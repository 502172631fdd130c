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
# # Noise without numbers: chains over categories
#
# A letter has no neighbours to be blurred into. It is noised by a **chain over categories**: at each step it may become
# another letter, or a *mask*. A model says how likely every letter is at every place, $p(x_0 \mid x_t)$, and samplers
# follow it back. Here the text is a Markov chain of letters whose pairs are counted in the English that Python brings
# along. Of such a text every $p(x_0 \mid x_t)$ is known in closed form, so there is no network, nothing is trained, and
# **every error you see is the sampler's own**. The last section reads trained networks.

# %%
import json
import os
import sys
from pathlib import Path

ROOT = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "sde_lib").is_dir())
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from data.pydoc_topics import families
from samplers import sample
from samplers.categorical import categorical_ancestral, tau_leaping
from samplers.infilling import infilled, keeping
from samplers.unmasking import maskgit, unmasking
from sde_lib.categorical import Replacing
from sde_lib.categorical_bound import rate_nats
from sde_lib.categorical_chain import Neighbours
from sde_lib.categorical_prediction import BeliefFn
from sde_lib.categorical_schedules import Linear, chain_betas

plt.rcParams.update({
    "figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "Blues",
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#666666"

# %% [markdown]
# ## 1. Four ways to lose a category
#
# Row $i$ of each picture is $q(x_t = j \mid x_0 = i)$ for 17 categories, from data on the left to noise on the right.
# *Masked* has an 18th state, the mask, which is no data value; *uniform* forgets a category as a whole; *gaussian* and
# *banded* (D3PM) know that neighbours are alike, as grey levels are.

# %%
K = 17
PROCESSES = {
    "masked": Replacing(K, Linear(), absorbing=K),
    "uniform": Replacing(K, Linear()),
    "gaussian": Neighbours(K, tuple(chain_betas("linear", 100, 1e-4, 0.02)), "gaussian"),
    "banded": Neighbours(K, tuple(chain_betas("linear", 100, 0.02, 0.5)), "banded", 2),
}
TIMES = (0.0, 0.1, 0.3, 0.6, 1.0)
figure, axes = plt.subplots(len(PROCESSES), len(TIMES), figsize=(10, 8))
for row, (name, process) in zip(axes, PROCESSES.items(), strict=True):
    for ax, t in zip(row, TIMES, strict=True):
        ax.imshow(process.marginal(jnp.arange(K), jnp.full(K, t)), vmin=0, vmax=0.6)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{name}, t = {t:g}", fontsize=9)
plt.show()

# %% [markdown]
# ## 2. A text of which everything is known
#
# The 26 letters and the space, each drawn by the letter before it. What a place is, given all that is seen, is
# one pass from the left and one from the right (forward-backward); what a place's own noisy letter says,
# $q(x_t \mid x_0)$, is the process's. So one function is the exact model of *every* process.

# %%
from pydoc_data.topics import topics

LETTERS = " abcdefghijklmnopqrstuvwxyz"
words = " ".join("".join(c if c in LETTERS else " " for c in "\n".join(families(topics)).lower()).split())
codes = np.array([LETTERS.index(c) for c in words])
SIZE, LENGTH = len(LETTERS), 48
pairs = np.bincount(codes[:-1] * SIZE + codes[1:], minlength=SIZE**2).reshape(SIZE, SIZE) + 0.01
MATRIX = pairs / pairs.sum(1, keepdims=True)
FIRST = np.bincount(codes, minlength=SIZE) / len(codes)


def exact(process):
    """(x [b, n], t [b]) -> log p(x_0 | x_t) [b, n, letters], by Bayes' rule along the chain of letters."""

    def function(x, t):
        own = jnp.moveaxis(process.likelihood(x, t), 1, 0)  # [n, b, letters]
        own = own / own.max(-1, keepdims=True)

        def step(before, here):
            found = before * here
            found = found / found.sum(-1, keepdims=True)
            return found @ MATRIX, found

        def back(behind, here):
            found = (behind * here) @ MATRIX.T
            return found / found.max(-1, keepdims=True), behind

        ahead = jax.lax.scan(step, jnp.broadcast_to(FIRST, own.shape[1:]), own)[1]
        behind = jax.lax.scan(back, jnp.ones(own.shape[1:]), own, reverse=True)[1]
        return jnp.moveaxis(jnp.log(ahead * behind + 1e-30), 0, 1)

    return BeliefFn(process, function)


def text(x):
    return "".join(f"{LETTERS}·"[i] for i in np.asarray(x))


def nats(x):
    """-log p(x) of texts [b, n] by the chain of letters."""
    x = np.asarray(x)
    return -np.log(FIRST[x[:, 0]]) - np.log(MATRIX[x[:, :-1], x[:, 1:]]).sum(1)


rng = np.random.default_rng(0)
data = np.zeros((512, LENGTH), np.int32)
data[:, 0] = rng.choice(SIZE, 512, p=FIRST)
for i in range(1, LENGTH):
    data[:, i] = (MATRIX[data[:, i - 1]].cumsum(1) < rng.random((512, 1))).sum(1).clip(max=SIZE - 1)
ENTROPY = nats(data).mean() / LENGTH / np.log(2)
print(f"{len(words):,} letters; a text of the chain: {text(data[0])}")
print(f"{ENTROPY:.3f} bits a letter, of {np.log2(SIZE):.3f} if all were as likely")

# %% [markdown]
# ## 3. The bound is tight
#
# The variational bound of a chain in continuous time is an integral over t of a rate. With the exact model it is
# $-\log p(x)$ itself, for masks and for uniform noise alike.

# %%
MASKED, UNIFORM = Replacing(SIZE, Linear(), absorbing=SIZE), Replacing(SIZE, Linear(eps=1e-4), t_min=1e-4)


@jax.jit
def bound(key):
    found = []
    for process in (MASKED, UNIFORM):
        t = process.t_min + (1 - process.t_min) * (jnp.arange(512) + jax.random.uniform(key)) / 512
        x = process.noise(key, data, t)
        found.append(rate_nats(process, exact(process)(x, t), data, x, t).sum(1))
    return jnp.stack(found)


drawn = np.stack([bound(key) for key in jax.random.split(jax.random.key(0), 40)]) / LENGTH / np.log(2)
error = drawn.mean(2).std(0) / np.sqrt(len(drawn))
print(f"{'exact':>8} {ENTROPY:.3f} bits a letter")
for name, mean, deviation in zip(("masked", "uniform"), drawn.mean((0, 2)), error, strict=True):
    print(f"{name:>8} {mean:.3f} +- {deviation:.3f}")

# %% [markdown]
# ## 4. Masks resolved, step by step
#
# From a text of masks alone, 12 steps back. *unmasking* lets every mask go by itself, as the reverse process does;
# *maskgit* fills in what the model is surest of. Letters that are drawn in the same step do not know of each other:
# with few steps that is where `unmasking` errs.

# %%
STEPPERS = {
    "unmasking": lambda process, belief: unmasking(process, belief),
    "maskgit": lambda process, belief: maskgit(process, belief, choice_temperature=1.0),
}


def drawn_by(process, make, steps, count, *, trajectory=False, seed=0):
    """Texts, or all their states, by a sampler of so many equal steps from t = 1 to data."""
    stepper, times = make(process, exact(process)), np.linspace(1, 0, steps + 1)

    @jax.jit
    def run(key):
        z = process.prior_sample(key, (count, LENGTH))
        return sample(stepper, key, z, times, trajectory=trajectory)

    out = run(jax.random.key(seed))
    return np.asarray(out.trajectory if trajectory else out.x)


for name, make in STEPPERS.items():
    print(name)
    for state in drawn_by(MASKED, make, 12, 1, trajectory=True, seed=3):
        print("   ", text(state[0]))

# %% [markdown]
# ## 5. How many steps does a text need?
#
# The mean of $-\log_2 p(x)$ of drawn texts is the entropy of the chain (the line) where they have its distribution.
# Above it they are worse than real texts. *maskgit* goes **below**: it takes likely letters, and its texts are of
# a narrower distribution, which a likelihood alone would call better.

# %%
SAMPLERS = {
    "unmasking": (MASKED, STEPPERS["unmasking"], BLUE),
    "maskgit, temperature 1": (MASKED, STEPPERS["maskgit"], RED),
    "ancestral, uniform noise": (UNIFORM, categorical_ancestral, GREEN),
    "tau-leaping, uniform noise": (UNIFORM, tau_leaping, ORANGE),
}
STEPS = (2, 4, 8, 16, 32, 64)
figure, ax = plt.subplots(figsize=(7, 4))
ax.axhline(ENTROPY, color="0.8", lw=4, label="entropy of the chain")
for name, (process, make, colour) in SAMPLERS.items():
    bits = [nats(drawn_by(process, make, steps, 512)).mean() / LENGTH / np.log(2) for steps in STEPS]
    ax.plot(STEPS, bits, "o-", color=colour, label=name)
    print(f"{name:>27}", *(f"{value:6.3f}" for value in bits))
ax.set(xscale="log", xlabel="steps", ylabel="bits a letter of drawn texts", xticks=STEPS, xticklabels=STEPS)
ax.legend()
plt.show()

# %% [markdown]
# ## 6. Text filled in
#
# What is known is never masked, and what is drawn between it has the conditional distribution: the same sampler, the
# same model.

# %%
FORM = "the statement is" + "·" * 16 + " of the function"
known = np.array([[LETTERS.index(c) if c in LETTERS else 0 for c in FORM]] * 5, np.int32)
where = np.array([[c != "·" for c in FORM]] * 5)
told = infilled(MASKED, exact(MASKED), jnp.asarray(known), jnp.asarray(where))
stepper = keeping(MASKED, unmasking(MASKED, told), jnp.asarray(known), jnp.asarray(where))
filled = jax.jit(lambda key: sample(stepper, key, MASKED.prior_sample(key, (5, LENGTH)), np.linspace(1, 0, 33)).x)
print(FORM, "\n")
found = np.asarray(filled(jax.random.key(1)))
for each in found:
    print(text(each))
print("\nknown letters kept:", bool((found[where] == known[where]).all()))

# %% [markdown]
# ## 7. The same digits by numbers and by categories
#
# The 17 grey levels of a digit are numbers to one model and names to the other. This reads two runs and
# their reports, `runs/digits` and `runs/digits_masked`, or the folders in the environment variables `RUN_DIGITS` and
# `RUN_CATEGORIES`.

# %%
import experiment
from experiment.pictures import image_grid
from experiment.workdir import Workdir

RUNS = {
    "Gaussian": (os.environ.get("RUN_DIGITS", "runs/digits"), "configs/vp/digits.py"),
    "categorical": (os.environ.get("RUN_CATEGORIES", "runs/digits_masked"), "configs/categorical/digits_masked.py"),
}
trained = {name: folder for name, (folder, _) in RUNS.items() if Workdir(folder).config_file.exists()}
for name, (folder, config) in RUNS.items():
    if name not in trained:
        print(f"no {name} run: python main.py --mode=train --config={config} --workdir={folder}")
if trained:
    figure, axes = plt.subplots(1, len(trained), figsize=(4 * len(trained), 4), squeeze=False)
    for ax, (name, folder) in zip(axes[0], trained.items(), strict=True):
        run, report = experiment.load(folder), Path(folder, "report.json")
        images = run.sampler()(jax.random.key(0), 36).x
        ax.imshow(image_grid(np.asarray(run.codec.stretch(images)), columns=6), cmap="gray", vmin=0, vmax=255)
        ax.axis("off")
        parts = json.loads(report.read_text()) if report.exists() else {}
        bits = {part: parts[part]["mean"] for part in ("bits_per_dim", "variational_bound") if part in parts}
        said = ", ".join(f"{part.replace('_', ' ')} {value:.3f}" for part, value in bits.items())
        ax.set_title(f"{name}, step {run.step}", fontsize=9)
        print(f"{name}, step {run.step}: {said or f'python main.py --mode=evaluate --workdir={folder} measures it'}")
    plt.show()
