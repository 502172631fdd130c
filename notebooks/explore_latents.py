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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/explore_latents.ipynb)
#
# # Compress first, generate second
#
# Most numbers of a picture say nothing of what it shows. Latent diffusion takes them away before a model is trained: an
# autoencoder makes 16 x 16 x 4 numbers of 64 x 64 x 3, and the diffusion model learns those. This notebook looks at the
# three steps: **what compression costs**, **what lies in the latents**, and **what is won**, a model of latents beside
# one of pixels, as large and trained as long.
#
# The pictures are 64 x 64 crops of scikit-learn's two photographs, and those shown are of parts that no training has
# seen. `make latent` trains the first two runs in minutes; `python -m benchmarks.latent` trains the third. Without
# them, the notebook says which command is missing.

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
import math
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
from PIL import Image

import data
import experiment
from autoencoders.posterior import Posterior
from experiment.pictures import image_grid
from metrics.fid import Moments, frechet_distance
from metrics.psnr import psnr
from metrics.ssim import ssim

plt.rcParams.update({
    "figure.dpi": 54, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#762a83", "#666666"


def folder(variable, name, command):
    """The folder of the run in that environment variable; None, and how to train one, if there is none."""
    path = Path(os.environ.get(variable, f"runs/{name}"))
    if not (path / "config.json").exists():
        print(f"no run {path}: {command}")
        return None
    return path


def rows(pictures, width=0.9):
    """One row of uint8 pictures [n, h, w, 3] for each label."""
    n, columns = len(pictures), len(next(iter(pictures.values())))
    grid = image_grid(np.concatenate(list(pictures.values())), columns)
    ax = plt.figure(figsize=(width * columns + 1.8, width * n + 0.2)).subplots()
    ax.imshow(grid, interpolation="nearest")
    ax.set_yticks((np.arange(n) + 0.5) * (len(grid) - 2) / n + 1, pictures.keys())
    ax.tick_params(length=0)
    ax.set(xticks=[])
    ax.spines[:].set_visible(False)
    plt.show()


# %%
CODEC = folder("RUN_AUTOENCODER", "photos_autoencoder", "`make latent` trains it")
LATENT = folder("RUN_LATENT", "photos_latent", "`make latent` trains it")
PIXELS = folder("RUN_PIXELS", "photos_64", "`python -m benchmarks.latent` trains it")
codec = experiment.load_autoencoder(CODEC) if CODEC else None
crops = data.create("photo_patches", size=64, train_length=10_000, test_length=500)
HELD_OUT = crops.test.take(np.arange(200))["image"]

# %% [markdown]
# ## 1. What compression costs
#
# A KL autoencoder says of each latent a mean and a deviation. **Look at** the difference, four times as strong: smooth
# parts come back, and leaves and blossoms are painted anew in their manner, since the discriminator asks for texture
# and not for the very leaves.

# %%
if codec:
    y = codec.pictures.encode(HELD_OUT)
    posterior = Posterior.of_moments(jnp.asarray(codec.autoencoder.encode(y)))
    x = codec.of_pictures(y)
    restored = codec.decode(x)
    difference = np.clip(128 + 4 * (restored[:8].astype(int) - HELD_OUT[:8]), 0, 255).astype(np.uint8)
    rows({"held out": HELD_OUT[:8], "restored": restored[:8], "4 x difference": difference})
    squares = np.square(HELD_OUT.astype(float) - restored).mean((1, 2, 3))
    alike = ssim(jnp.asarray(HELD_OUT, jnp.float32), jnp.asarray(restored, jnp.float32))
    print(f"{HELD_OUT[0].size:,} numbers to {x[0].size:,}: PSNR {psnr(squares).mean():.2f} dB, SSIM {alike.mean():.3f}")

# %% [markdown]
# **The price of latents.** The deviation says how exactly a latent must be known, so that a posterior has a length in
# bits: its KL divergence from the standard normal distribution, by the argument of *bits back*. Beside it stand
# formats that are made for compression: JPEG and WebP at several qualities, on the same crops, without their headers'
# length, and the crops averaged to as many places as there are latents. An autoencoder of ten minutes is no match for
# formats, nor for averaging, in this error, which its discriminator does not look at. Its latents are made to be
# *learned*: a grid of numbers of one scale, with a decoder that fills in the texture.


# %%
def compressed(kind, quality):
    """The mean bits of the held-out crops without what an empty picture takes, and their root mean square error."""

    def packed(picture):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, kind, quality=quality)
        return file

    files = [packed(picture) for picture in HELD_OUT]
    back = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    header = packed(np.zeros_like(HELD_OUT[0])).getbuffer().nbytes
    bits = 8 * (np.mean([file.getbuffer().nbytes for file in files]) - header)
    return bits, math.sqrt(np.square(HELD_OUT.astype(float) - back).mean())


def averaged(side):
    """The root mean square error of crops that are averaged to so many pixels a side, and made large again."""

    def there_and_back(picture):
        small = Image.fromarray(picture).resize((side, side), Image.Resampling.BOX)
        return np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))

    return math.sqrt(np.square(HELD_OUT.astype(float) - np.stack([there_and_back(p) for p in HELD_OUT])).mean())


figure, ax = plt.subplots(figsize=(7, 4))
for kind, colour in (("JPEG", BLUE), ("WEBP", GREEN)):
    curve = [compressed(kind, quality) for quality in (1, 5, 10, 20, 40, 60, 80)]
    ax.plot(*zip(*curve, strict=True), "-o", ms=4, color=colour, label=kind)
ax.axhline(averaged(16), color=GREY, ls="--", lw=1, label="averaged to 16 x 16 pixels")
if codec:
    bits = float(posterior.kl().mean()) / math.log(2)
    ax.plot([bits], [math.sqrt(squares.mean())], "*", ms=14, color=RED, label="autoencoder, bits back")
    print(f"{bits:,.0f} bits a picture, {bits / 64**2:.2f} a pixel")
ax.set(xlabel="bits a picture", ylabel="root mean square error of 255", xscale="log", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# ## 2. What lies in the latents
#
# Each channel is a picture of 16 x 16. **Look at** how much of the crop can be seen in them: an autoencoder compresses
# texture and leaves composition where it was. The last column is what the KL divergence charges at each place. It asks
# how far a latent is from zero and how exactly it must be known, and not what its neighbours say: a blank sky costs as
# much as leaves. That neighbours are alike is left to the diffusion model.

# %%
if codec:
    cost = np.asarray(jnp.square(posterior.mean) + posterior.variance - 1.0 - posterior.log_variance).sum(-1) / 2
    figure, axes = plt.subplots(3, x.shape[-1] + 2, figsize=(9, 4.6))
    for line, i in zip(axes, (3, 5, 6), strict=True):
        line[0].imshow(HELD_OUT[i])
        for c, ax in enumerate(line[1:-1]):
            ax.imshow(x[i, ..., c], cmap="RdBu_r", vmin=-3 * x.std(), vmax=3 * x.std())
        line[-1].imshow(cost[i] / math.log(2), cmap="magma", vmin=0, vmax=np.quantile(cost, 0.99) / math.log(2))
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    for ax, title in zip(axes[0], ("crop", *(f"channel {c}" for c in range(x.shape[-1])), "bits a place"), strict=True):
        ax.set_title(title)
    plt.show()
    print("deviation of each channel", x.std((0, 1, 2)).round(2), "  of the posterior",
          np.sqrt(np.asarray(posterior.variance)).mean((0, 1, 2)).round(3))  # fmt: skip

# %% [markdown]
# **One latent, one place.** A latent is changed by two deviations of its channel, and the decoder says which pixels
# follow. They are those around it: the decoder paints locally, from what its neighbours say. The share is that of the
# change within 24 x 24 pixels, six latents a side.

# %%
if codec:
    chosen = x[3]
    changed = np.stack([chosen] * x.shape[-1])
    for c in range(x.shape[-1]):
        changed[c, 7, 7, c] += 2 * x[..., c].std()
    painted = np.asarray(codec.reconstruct(np.concatenate([chosen[None], changed])))
    effect = np.abs(painted[1:] - painted[:1]).mean(-1)
    figure, axes = plt.subplots(1, x.shape[-1], figsize=(9, 2.6))
    for c, ax in enumerate(axes):
        share = effect[c, 20:44, 20:44].sum() / effect[c].sum()
        ax.imshow(effect[c], cmap="magma")
        ax.set(xticks=[], yticks=[], title=f"channel {c}: {share:.0%}")
    plt.show()

# %% [markdown]
# **Between two pictures.** Half of one crop's latents and half of another's do not decode to two pictures that shine
# through each other, as half of their pixels do; nor to a third photograph. Where latents may lie, and where not, is
# what the second stage learns.

# %%
if codec:
    a, b = 1, 6
    shares = np.linspace(0, 1, 8)[:, None, None, None]
    rows({
        "pixels": ((1 - shares) * HELD_OUT[a] + shares * HELD_OUT[b]).round().astype(np.uint8),
        "latents": codec.decode(((1 - shares) * x[a] + shares * x[b]).astype(np.float32)),
    })  # fmt: skip

# %% [markdown]
# **Noise decoded.** If latents were independent normal numbers, decoding noise would be sampling, as of a variational
# autoencoder. They are not: their mean and deviation can be matched channel by channel, and what is decoded has the
# colours of the photographs and none of their shapes. How latents hang together is what the diffusion model learns.

# %%
if codec:
    noise = np.random.default_rng(0).normal(size=(8, *codec.shape))
    rows({"noise": codec.decode((x.mean((0, 1, 2)) + x.std((0, 1, 2)) * noise).astype(np.float32))})

# %% [markdown]
# ## 3. What is won: latents beside pixels
#
# Two diffusion models of the same size, 64 channels and three levels, trained for the same time: one sees 256 places a
# picture, the other 4096. The second has taken a sixteenth of the steps by then, or fewer, and takes sixteen times as
# long to draw.
#
# The table is of 100 draws. The distance is Frechet's, over pixels averaged down to 4 x 4, where 100 draws suffice for
# a covariance; the floor is the same of 100 crops of the training set. `python -m benchmarks.latent` measures it over
# 16 x 16 with 400 draws.


# %%
def small(levels):
    """The pixels [n, 48] of pictures, averaged down to 4 x 4."""
    return levels.reshape(len(levels), 4, 16, 4, 16, 3).mean((2, 4)).reshape(len(levels), -1) / 255


def distance(a, b):
    """The Frechet distance of two sets of pictures over their small pixels in [0, 1]."""
    return frechet_distance(*(Moments(np.mean(s, 0), np.cov(s, rowvar=False), len(s)) for s in (small(a), small(b))))


N = int(os.environ.get("SAMPLES", "100"))
known = crops.train.take(np.arange(2000))["image"]
drawn = {"photographs": known[:N]}
print(f"{'':12}{'parameters':>11}{'steps':>7}{'seconds a sample':>18}{'distance':>10}")
for name, path in {"latents": LATENT, "pixels": PIXELS}.items():
    if path:
        run = experiment.load(path, {"eval.batch_size": N})
        with contextlib.redirect_stderr(io.StringIO()):  # which would show how far it is
            found = run.sampler()(jax.random.key(1), N)
        drawn[name], seconds = found.x, found.seconds / N
        parameters, found = run.experiment.network.count(), distance(drawn[name], known)
        print(f"{name:12}{parameters:11,}{run.step:7}{seconds:18.4f}{found:10.3f}")
print(f"{'floor':12}{distance(known[-N:], known[:-N]):46.3f}")
rows({name: pictures[:8] for name, pictures in drawn.items()})

# %% [markdown]
# A latent run is used like any other: `run = experiment.load("runs/photos_latent")` has `run.sampler`, `run.score` and
# `run.sde`, whose x are latents, and `run.codec.decode` makes pictures of them. A published autoencoder or a whole
# pipeline is imported in one line ([docs/latent.md](../docs/latent.md)).
