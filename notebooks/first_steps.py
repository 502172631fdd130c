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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/first_steps.ipynb)
#
# # First steps
#
# A model of handwritten digits comes with the project, trained. In about a minute this notebook draws with it, watches
# noise become digits, asks how likely digits are, and completes halves of them. Nothing is trained and nothing is
# downloaded.

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
from pathlib import Path

ROOT = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "sde_lib").is_dir()), Path.cwd())
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import inverse
import samplers
from experiment import load
from experiment.pictures import image_grid
from samplers import Settings

plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 11})

# %% [markdown]
# ## 1. Draw
#
# `load` takes the folder of any run, or this name. A sampler is chosen by its name, and returns images as whole grey
# levels, here 0 to 16.

# %%
run = load(os.environ.get("RUN", "digits"), {"eval.rtol": 1e-3, "eval.atol": 1e-3})
print(f"{run.config.data.dataset}, step {run.step}, {run.experiment.network.count():,} parameters")


def draw(method, n, seed=0, **options):
    """Draw n digits, and leave out the bar that shows how far it is."""
    with contextlib.redirect_stderr(io.StringIO()):
        return run.sampler(method, **options)(jax.random.key(seed), n)


def show(pictures, titles=(), width=2.6):
    """Draw several sets of images [n, 8, 8, 1] of grey levels side by side."""
    axes = plt.figure(figsize=(width * len(pictures), width + 0.2)).subplots(1, len(pictures), squeeze=False)[0]
    for ax, images, title in zip(axes, pictures, titles or [""] * len(pictures), strict=True):
        ax.imshow(image_grid(run.codec.stretch(np.asarray(images))), cmap="gray", vmin=0, vmax=255)
        ax.set_title(title)
        ax.axis("off")
    plt.show()


drawn = draw("dpmpp_2m", 64, evaluations=20)
test = run.experiment.source.test
real = np.stack([test[i]["image"] for i in range(64)])
show([real, drawn.x], ["real, held out of training", "drawn, 20 evaluations each"], width=4)

# %% [markdown]
# ## 2. How many evaluations?
#
# The same noise, followed in more and more steps. **Look at** where the digits stop changing: a good solver needs ten.

# %%
few = {n: draw("dpmpp_2m", 16, seed=1, evaluations=n).x for n in (3, 5, 10, 20)}
show(list(few.values()), [f"{n} evaluations" for n in few])

# %% [markdown]
# ## 3. From noise to a digit
#
# A sampler needs a noise process and what the network says of a noisy image; `run.sde` and `run.prediction` are these.
# The upper row is the state on its way. The lower row is the guess of the clean image at the same moment,
# $E[x_0 \mid x_t]$. **Look at** the guess: near $t = 1$ the signal is so small that dividing by it leaves noise; then
# it is the mean of all digits, and then one of them.

# %%
times = samplers.grids.create(run.sde, "log_snr", 48, 1e-3)
noise = run.sde.prior_sample(jax.random.key(5), (6, 8, 8, 1))


@jax.jit
def states(z):
    """All states on the way, [49, 6, 8, 8, 1], and the guess of the clean image at each of them."""
    ddim = samplers.ddim(run.sde, run.prediction)
    path = samplers.sample(ddim, jax.random.key(0), z, times, trajectory=True).trajectory
    return path, jax.lax.map(lambda at: run.prediction(at[0], jnp.full(len(z), at[1])).x0, (path, jnp.asarray(times)))


path, guesses = (run.codec.decode(np.asarray(x)) for x in states(noise))
chosen = np.linspace(0, 48, 9).round().astype(int)
titles = [f"t = {times[i]:.2g}" for i in chosen]
show(path[chosen], titles, width=1.5)
show(guesses[chosen], titles, width=1.5)

# %% [markdown]
# ## 4. How likely is a digit?
#
# The flow without randomness gives the density of any image, in bits for each pixel: fewer are likelier. **Look at**
# what the model knows: a digit upside down costs more, and the same pixels in another order cost far more.

# %%
some = real[:24]
order = np.random.default_rng(0).permutation(64)
shuffled = some.reshape(len(some), 64)[:, order].reshape(some.shape)
for name, images in (("as they are", some), ("upside down", some[:, ::-1]), ("shuffled", shuffled)):
    bits = run.log_likelihood(np.ascontiguousarray(images))
    print(f"{name:12} {bits.mean():6.2f} +- {bits.std(ddof=1) / np.sqrt(len(bits)):.2f} bits a pixel")

# %% [markdown]
# ## 5. Complete a half
#
# No class and no text: what is known is the upper half, which stays as it is to the level. The lower half is drawn anew
# each time, so that one upper half has several answers.

# %%
known = np.zeros((8, 8), bool)
known[:4] = True
settings = Settings(method="ddim", eta=1.0, evaluations=20)
fill = inverse.create(run.sde, run.prediction, settings, inverse.mask(known), "repaint", resamplings=5, jump=5)
halves = np.repeat(real[:4], 4, axis=0)
x0 = jnp.asarray(run.codec.pictures.centres()[halves], jnp.float32)
z = run.sde.prior_sample(jax.random.key(2), x0.shape)
filled = run.codec.decode(np.asarray(jax.jit(fill)(jax.random.key(3), z, x0, inverse.mask(known)).x))
print("known half kept:", np.array_equal(filled[:, known], halves[:, known]))
show([np.where(known[..., None], halves, 5), filled, halves], ["known", "completed", "as they were"], width=3)

# %% [markdown]
# ## Where to go on
#
# * `explore_samplers.ipynb`: every sampler on a density that is known exactly, and then on this model.
# * `steer_digits.ipynb`: classes, guidance, inpainting by several methods, interpolation.
# * Your own pictures: [docs/data.md](../docs/data.md); the command line: [docs/start.md](../docs/start.md).
