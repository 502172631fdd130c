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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/explore_categories.ipynb)
#
# # Noise without numbers
#
# A letter has no neighbour into which it could be blurred. It is noised by a **chain over categories**: at some time it
# becomes another letter, or a *mask*. A model says how likely every letter is at every place, $p(x_0 \mid x_t)$, and
# samplers follow it back.
#
# The first six sections need no network. Their text comes from a Markov model of letters, whose pairs are counted in
# the English that Python brings along, and of such a text every $p(x_0 \mid x_t)$ is known in closed form: **every
# error you see is the sampler's own**. The last two read trained networks, of text and of digits, and say which
# command trains them where they are missing.

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
import json
import os
import sys
from functools import partial
from pathlib import Path

ROOT = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "sde_lib").is_dir()), Path.cwd())
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import experiment
import samplers
import sde_lib
from data.alphabets import Characters
from data.digits import digits
from data.pydoc_topics import families
from data.source import take
from experiment.pictures import image_grid
from metrics.categorical_bound import categorical_bound
from samplers import Settings
from sde_lib.categorical_bound import rate_nats

plt.rcParams.update({
    "figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "Blues",
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#666666"

# %% [markdown]
# ## 1. Four ways to lose a category
#
# Row $i$ of each picture is $q(x_t = j \mid x_0 = i)$ for 17 categories, from data at the left to noise at the right.
# *Masked* has an 18th state, the mask, which is no data value. *Uniform* replaces a category by a draw of all. The
# other two are chains of D3PM that know that neighbours are alike, as grey levels are: *gaussian* moves near and far,
# *banded* by two levels at most in one step.

# %%
K = 17
PROCESSES = {
    "masked": sde_lib.create_categorical("masked", K),
    "uniform": sde_lib.create_categorical("uniform", K),
    "gaussian": sde_lib.create_categorical("d3pm", K, kernel="gaussian", n=100, beta_min=1e-4, beta_max=0.05),
    "banded": sde_lib.create_categorical("d3pm", K, kernel="banded", n=300, bands=2, beta_min=0.02, beta_max=1.0),
}
TIMES = (0.0, 0.1, 0.3, 0.6, 1.0)
figure, axes = plt.subplots(len(PROCESSES), len(TIMES), figsize=(9, 7.4))
for row, (name, process) in zip(axes, PROCESSES.items(), strict=True):
    for ax, t in zip(row, TIMES, strict=True):
        ax.imshow(process.marginal(jnp.arange(K), jnp.full(K, t)), vmin=0, vmax=0.6)
        ax.set(xticks=[], yticks=[], title=f"{name}, t = {t:g}")
plt.show()

# %% [markdown]
# The same on a real digit, whose grey levels are the 17 categories. **Look at** $t = 0.3$: of what the masks leave
# every pixel is certain, and which were replaced is written there. The Gaussian chain touches every pixel and moves
# none far. Under *uniform* noise a pixel may be anything, and nothing says which ones are.

# %%
MASK = np.array([158, 202, 225], np.uint8)  # the colour of a mask


def pictured(levels):
    """Digits [n, 8, 8, 1] of 17 categories as grey pictures uint8 [n, 8, 8, 3], masks blue."""
    levels = np.asarray(levels, int)
    grey = np.minimum(levels * 255 // (K - 1), 255).astype(np.uint8)
    return np.where(levels == K, MASK, np.repeat(grey, 3, axis=-1))


def rows(pictures, titles=(), width=0.9):
    """One row of uint8 pictures [n, h, w, 3] for each label."""
    n, columns = len(pictures), len(next(iter(pictures.values())))
    grid = image_grid(np.concatenate(list(pictures.values())), columns)
    ax = plt.figure(figsize=(width * columns + 1.8, width * n + 0.4)).subplots()
    ax.imshow(grid, interpolation="nearest")
    ax.set_yticks((np.arange(n) + 0.5) * (len(grid) - 2) / n + 1, pictures.keys())
    ax.set_xticks((np.arange(len(titles)) + 0.5) * grid.shape[1] / columns, titles)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    plt.show()


HELD_OUT = digits().test
two = jnp.asarray(take(HELD_OUT, np.arange(2))["image"], jnp.int32)[1:]
noised = {
    name: np.concatenate([process.noise(jax.random.key(1), two, jnp.array([t])) for t in TIMES])
    for name, process in PROCESSES.items()
}
rows({name: pictured(x) for name, x in noised.items()}, [f"t = {t:g}" for t in TIMES])

# %% [markdown]
# ## 2. A text of which everything is known
#
# The 26 letters and the space, each drawn by the letter before it. What a place is, given all that is seen, takes one
# pass from the left and one from the right (the forward-backward algorithm). What a place's own noisy letter says,
# $q(x_t \mid x_0)$, is the process's. So one function is the exact model of *every* process.

# %%
from pydoc_data.topics import topics

LETTERS = Characters(" abcdefghijklmnopqrstuvwxyz")
SIZE, LENGTH = len(LETTERS), 48
english = "\n".join(families(topics)).lower()
codes = LETTERS.encode(" ".join("".join(c if c in LETTERS.known else " " for c in english).split()))
pairs = np.bincount(codes[:-1] * SIZE + codes[1:], minlength=SIZE**2).reshape(SIZE, SIZE) + 0.01
NEXT = pairs / pairs.sum(1, keepdims=True)  # NEXT[i, j]: how likely j is behind i
FIRST = pairs.sum(1) / pairs.sum()


def exact(process):
    """The model of this process: (x [b, n], t [b]) -> log p(x_0 | x_t) [b, n, letters] but for a constant."""

    def model(x, t):
        own = jnp.moveaxis(process.likelihood(x, t), 1, 0)  # what each place's own letter says, [n, b, letters]
        own = own / own.max(-1, keepdims=True)

        def ahead(before, here):
            found = before * here
            found = found / found.sum(-1, keepdims=True)
            return found @ NEXT, found

        def behind(after, here):
            found = (after * here) @ NEXT.T
            return found / found.max(-1, keepdims=True), after

        left = jax.lax.scan(ahead, jnp.broadcast_to(FIRST, own.shape[1:]), own)[1]
        right = jax.lax.scan(behind, jnp.ones(own.shape[1:]), own, reverse=True)[1]
        return jnp.moveaxis(jnp.log(left * right + 1e-30), 0, 1)

    return sde_lib.as_belief(process, model)


def written(x, alphabet=LETTERS):
    """The text of symbols, masks as dots and each line's end as an arrow, so that it stays one line."""
    return alphabet.decode(np.asarray(x)).replace("\ufffd", "·").replace("\n", "↵")


def bits(x):
    """-log2 p(x) a letter, of texts [b, n]."""
    x = np.asarray(x)
    return -(np.log2(FIRST[x[:, 0]]) + np.log2(NEXT[x[:, :-1], x[:, 1:]]).sum(1)) / x.shape[1]


def real_texts(seed, n):
    """Exact draws of the Markov model, [n, LENGTH]."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, LENGTH), np.int32)
    x[:, 0] = rng.choice(SIZE, n, p=FIRST)
    for i in range(1, LENGTH):
        x[:, i] = (NEXT[x[:, i - 1]].cumsum(1) < rng.random((n, 1))).sum(1).clip(max=SIZE - 1)
    return x


ENTROPY = -(FIRST @ np.log2(FIRST) + (LENGTH - 1) * FIRST @ (NEXT * np.log2(NEXT)).sum(1)) / LENGTH
print(f"{len(codes):,} letters were counted; a text of the model: {written(real_texts(0, 1)[0])}")
print(f"entropy {ENTROPY:.3f} bits a letter, of {np.log2(SIZE):.3f} if all were as likely")

# %% [markdown]
# ## 3. The bound is tight
#
# The variational bound of a chain in continuous time is an integral over $t$, of what the model misses at each.
# With the exact model it is $-\log p(x)$ itself, whatever the noise is. **Look at** the scatter: each point is a text,
# the bound a mean over 128 times, and it lies about the diagonal. The mean difference beside its standard error is
# printed.

# %%
MASKED = sde_lib.create_categorical("masked", SIZE)
UNIFORM = sde_lib.create_categorical("uniform", SIZE, t_min=1e-3)
texts = real_texts(1, 512)
figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.8), sharex=True, sharey=True)
for ax, (name, process) in zip(axes, {"masked": MASKED, "uniform": UNIFORM}.items(), strict=True):
    terms = jax.jit(partial(categorical_bound, process, exact(process), times=128))
    found = np.asarray(terms(jnp.asarray(texts), jax.random.split(jax.random.key(0), len(texts))).total)
    above = found - bits(texts)
    ax.plot([2.4, 4.6], [2.4, 4.6], color="0.8", lw=4)
    ax.scatter(bits(texts), found, s=5, color=BLUE, linewidths=0)
    ax.set(title=name, xlabel="exact bits a letter", aspect="equal")
    error = above.std() / np.sqrt(len(above))
    print(f"{name:>8}: bound {found.mean():.3f} bits a letter, {above.mean():+.4f} +- {error:.4f} from exact")
axes[0].set(ylabel="the bound")
plt.show()

# %% [markdown]
# ## 4. Masks resolved, step by step
#
# From masks alone to a text in 12 steps. *unmasking* lets every mask go by itself, as the reverse process does;
# *maskgit* draws all of them and keeps what the model is surest of. Letters that are drawn in the same step do not know
# of each other: that is the one error of *unmasking*, and more steps are its cure. Once drawn, a letter stays.


# %%
def drawn(process, settings, count, *, seed=0, **options):
    """`Samples` of texts by the exact model."""
    sampler = samplers.create_categorical(process, exact(process), settings, **options)
    return jax.jit(lambda key: samplers.draw(sampler, process, key, (count, LENGTH)))(jax.random.key(seed))


for method, options in {"unmasking": {}, "maskgit": {"choice_temperature": 1.0}}.items():
    print(method)
    for state in drawn(MASKED, Settings(method=method, steps=12, **options), 1, seed=3, trajectory=True).trajectory:
        print("   ", written(state[0]))

# %% [markdown]
# ## 5. How many steps does a text need?
#
# Left, what the Markov model says of drawn texts: where they have its distribution, the mean of $-\log_2 p(x)$ is
# its entropy, the line. Right, how far the pairs of neighbouring letters are from those of the model, a Kullback-
# Leibler divergence in bits; the line there is that of as many real texts. **Look at** *maskgit*: its texts are
# *likelier* than real ones, and yet further from them. It takes likely letters and leaves the others out. A likelihood
# alone would call it the best.

# %%
SAMPLERS = {
    "unmasking": (MASKED, partial(Settings, method="unmasking"), BLUE),
    "maskgit, temperature 1": (MASKED, partial(Settings, method="maskgit", choice_temperature=1.0), RED),
    "ancestral, uniform noise": (UNIFORM, partial(Settings, method="categorical_ancestral"), GREEN),
    "tau-leaping, uniform noise": (UNIFORM, partial(Settings, method="tau_leaping"), ORANGE),
}
STEPS = (2, 4, 8, 16, 64)


def from_real_pairs(x):
    """The divergence of the pairs of texts from those of the Markov model, bits."""
    x = np.asarray(x)
    share = np.bincount((x[:, :-1] * SIZE + x[:, 1:]).ravel(), minlength=SIZE**2).reshape(SIZE, SIZE)
    share = share / share.sum()
    model = FIRST[:, None] * NEXT
    return (share[share > 0] * np.log2(share[share > 0] / model[share > 0])).sum()


figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
axes[0].axhline(ENTROPY, color="0.8", lw=4, label="entropy of the model")
axes[1].axhline(from_real_pairs(texts), color="0.8", lw=4, label="real texts")
print(f"{'bits a letter, after':>27}", *(f"{steps:6}" for steps in STEPS), " steps")
for name, (process, settings, colour) in SAMPLERS.items():
    found = [drawn(process, settings(steps=steps), len(texts)).x for steps in STEPS]
    axes[0].plot(STEPS, [bits(x).mean() for x in found], "o-", color=colour, label=name)
    axes[1].plot(STEPS, [from_real_pairs(x) for x in found], "o-", color=colour)
    print(f"{name:>27}", *(f"{bits(x).mean():6.3f}" for x in found))
axes[0].set(ylabel="bits a letter of drawn texts")
axes[1].set(ylabel="divergence of pairs, bits", yscale="log")
for ax in axes:
    ax.set(xscale="log", xlabel="steps", xticks=STEPS, xticklabels=STEPS)
    ax.minorticks_off()
    ax.legend()
plt.show()

# %% [markdown]
# ## 6. Text filled in
#
# What is known is never masked, and what is drawn between has the conditional distribution, by the same sampler and the
# same model. The exact model says that distribution of the first missing letter, and 4096 fillings are counted beside
# it.

# %%
FORM = "the statement is" + "·" * 16 + " of the function"
known, where = jnp.asarray(LETTERS.encode(FORM.replace("·", " "))), jnp.asarray([c != "·" for c in FORM])


def filled_in(process, model, known, where, key, count, steps=32):
    """So many draws [count, n] that have the symbols `known` [n] wherever `where` [n] is True."""
    known, where = (jnp.broadcast_to(each, (count, len(each))) for each in (known, where))
    told = samplers.infilled(process, model, known, where)
    settings = Settings(method="unmasking", steps=steps)
    sampler = samplers.create_categorical(
        process, told, settings, wrap=lambda stepper: samplers.keeping(process, stepper, known, where)
    )
    return jax.jit(lambda key: samplers.draw(sampler, process, key, known.shape).x)(key)


found = np.asarray(filled_in(MASKED, exact(MASKED), known, where, jax.random.key(1), 4096))
print(FORM)
for each in found[:5]:
    print(written(each))
print("known letters kept:", bool((found[:, where] == known[where]).all()))

gap = FORM.index("·")
x = jnp.where(where, known, MASKED.mask)[None]
likely = np.exp(exact(MASKED)(x, jnp.array([0.5])).x0[0, gap])  # masks tell all, and the time nothing more
counted = np.bincount(found[:, gap], minlength=SIZE) / len(found)
figure, ax = plt.subplots(figsize=(7, 2.6))
ax.bar(np.arange(SIZE) - 0.2, likely, 0.4, color=GREY, label="exact")
ax.bar(np.arange(SIZE) + 0.2, counted, 0.4, color=BLUE, label="drawn")
ax.set(ylabel="the first missing letter", xticks=range(SIZE), xticklabels=["␣", *LETTERS.known[1:]])
ax.legend()
plt.show()

# %% [markdown]
# ## 7. A network that has read
#
# The same functions with a trained transformer in the place of the exact model: `run.belief` is what it says, along
# `run.sde`. It has read Python's manual, and not the topics that are held out. A text of theirs loses its middle, and
# the network fills it in.


# %%
def folder(variable, name, command):
    """The folder of the run in that environment variable; None, and how to train one, if there is none."""
    path = Path(os.environ.get(variable, f"runs/{name}"))
    if not (path / "config.json").exists():
        print(f"no run {path}: `{command}` trains it")
        return None
    return path


TRAIN = "python main.py --mode=train --config=configs/categorical/{}.py --workdir=runs/{}"
TEXT = folder("RUN_TEXT", "pydoc", TRAIN.format("pydoc_masked", "pydoc"))
if TEXT:
    run = experiment.load(TEXT)
    source, length = run.experiment.source, run.codec.shape[0]
    shown = partial(written, alphabet=source.alphabet)
    print(f"step {run.step}, {run.experiment.network.count():,} parameters, {length} {source.alphabet.unit}s\n")
    settings = Settings(method="unmasking", steps=length)
    sampler = samplers.create_categorical(run.sde, run.belief, settings, trajectory=True)
    path = jax.jit(lambda key: samplers.draw(sampler, run.sde, key, (1, length)))(jax.random.key(2)).trajectory
    for step in np.linspace(0, length, 7).round().astype(int):
        print(f"{step:4} steps  {shown(path[step, 0])}")

# %%
if TEXT:
    middle = (np.arange(length) < length // 3) | (np.arange(length) >= 2 * length // 3)
    for number in (1, 40):
        held_out = jnp.asarray(take(source.test, np.array([number]))["image"][0])
        print("held out ", shown(held_out))
        print("known    ", shown(jnp.where(middle, held_out, run.sde.mask)))
        key = jax.random.key(number)
        for each in filled_in(run.sde, run.belief, held_out, jnp.asarray(middle), key, 3, steps=length):
            print("filled in", shown(each))
        print()

# %% [markdown]
# ## 8. The same digits as numbers and as categories
#
# The 17 grey levels of a digit are numbers to a Gaussian process and names to a chain over categories. Both are models
# of the same thing, whole numbers, and so their bits can be compared: with uniform dequantisation the Gaussian model's
# likelihood is a bound on that of the levels, and the chain's variational bound is one too. A Gaussian run comes with
# the project, and one command each trains the others; their reports are read, which `--mode=evaluate` writes. With
# these recipes 1.98 bits/dim were measured of the Gaussian model, 1.71 of the masked one and 1.70 of D3PM.

# %%
RUNS = {
    "Gaussian": folder("RUN_DIGITS", "digits", "make demo") or Path("digits"),  # the one that comes with the project
    "masked": folder("RUN_MASKED", "digits_masked", TRAIN.format("digits_masked", "digits_masked")),
    "D3PM": folder("RUN_D3PM", "digits_d3pm", TRAIN.format("digits_d3pm", "digits_d3pm")),
}
loaded = {name: experiment.load(path) for name, path in RUNS.items() if path}
pictures = {"held out": pictured(take(HELD_OUT, np.arange(12))["image"])}
print(f"{'':10} {'parameters':>10} {'steps':>6}  bits/dim")
for name, each in loaded.items():
    with contextlib.redirect_stderr(io.StringIO()):  # which would show how far it is
        pictures[name] = pictured(each.sampler()(jax.random.key(0), 12).x)
    report = RUNS[name] / "report.json"
    told = json.loads(report.read_text()) if report.exists() else {}
    of_each = (told[part] for part in ("bits_per_dim", "variational_bound") if part in told)
    measured = ", ".join(f"{part['mean']:.3f} +- {part['standard_error']:.3f}" for part in of_each)
    shipped = RUNS[name] == Path("digits")
    asked = "its card has them" if shipped else f"`python main.py --mode=evaluate --workdir={RUNS[name]}` measures them"
    print(f"{name:10} {each.experiment.network.count():10,} {each.step:6}  {measured or asked}")
print(f"{'all alike':28}  {np.log2(K):.3f}")
rows(pictures)

# %% [markdown]
# **On their way.** The Gaussian model draws every pixel a little clearer with every step. The masked one settles a
# pixel once and for all; what is blue is still open. D3PM moves pixels by a level or two, as its chain does.

# %%
STATES, COUNT = 9, 2


def states(each):
    """Some states of `COUNT` digits on their way, [STATES, COUNT, 8, 8, 1], as levels 0 to 16; a mask is 17."""
    if each.experiment.of_categories:
        settings = Settings(method=each.config.sampling.method, steps=64)
        sampler = samplers.create_categorical(each.sde, each.belief, settings, trajectory=True)
    else:
        sampler = samplers.create(each.sde, each.prediction, Settings(method="heun", evaluations=35), trajectory=True)
    draw = jax.jit(lambda key: samplers.draw(sampler, each.sde, key, (COUNT, *each.codec.shape)).trajectory)
    path = np.asarray(draw(jax.random.key(1)))
    path = path[np.linspace(0, len(path) - 1, STATES).round().astype(int)]
    return path if each.experiment.of_categories else np.stack([each.codec.decode(x) for x in path])


if loaded:
    moving = {name: states(each) for name, each in loaded.items()}
    rows({f"{name}, {i + 1}": pictured(x[:, i]) for name, x in moving.items() for i in range(COUNT)})

# %% [markdown]
# **Which pixels cost the bits?** A share of the bound belongs to each position, and so it can be drawn. Dark is where
# the held-out digits differ in a way that their other pixels do not tell; white is what is the same in nearly all.

# %%
if "masked" in loaded:
    masked = loaded["masked"]
    x0 = masked.codec.encode(take(HELD_OUT, np.arange(len(HELD_OUT)))["image"])

    @jax.jit
    def cost(key):
        """The bits of each pixel, a mean over the held-out digits at one time each."""
        key_time, key_noise = jax.random.split(key)
        t = (jnp.arange(len(x0)) + jax.random.uniform(key_time)) / len(x0)
        x = masked.sde.noise(key_noise, x0, t)
        return rate_nats(masked.sde, masked.belief(x, t), x0, x, t).mean(0) / jnp.log(2)

    found = np.mean([cost(key) for key in jax.random.split(jax.random.key(0), 32)], axis=0)
    ax = plt.figure(figsize=(3.6, 3)).subplots()
    shown_cost = ax.imshow(found[..., 0], vmin=0)
    ax.set(xticks=[], yticks=[], title=f"bits a pixel, {found.mean():.2f} on average")
    plt.colorbar(shown_cost)
    plt.show()

# %% [markdown]
# On the command line these are `--mode=train`, `sample` and `evaluate` with the recipes below `configs/categorical`
# ([docs/categories.md](../docs/categories.md)); a text of your own is `--config.data.dataset=text
# --config.data.path=FILE`.
