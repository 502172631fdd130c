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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/steer_digits.ipynb)
#
# # Say what to draw
#
# A sampler follows a score. Whoever changes the score says what is drawn: a class, what a classifier sees, the upper
# half of an image, its grey values. Each such wish is a wrapper, **a score in and a score out** (a few act between the
# sampler's steps instead), so it works with every noise process and every sampler.
#
# The models are small: scikit-learn's 8 x 8 digits, and 16 x 16 patches of two photographs. It opens with the run that
# comes with the project, with which sections 1, 6 and 8 need nothing else. The others want runs of some minutes each,
# one that is told classes (2 to 5), a classifier of noisy digits (5) and one of photographs (7), and print the command
# that trains them where they are not there.

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
import dataclasses
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
from sklearn.svm import SVC

import data
import inverse
import samplers
from conditions.labels import NO_CLASS
from experiment import build, load
from experiment.pictures import image_grid
from experiment.sampling import guided
from experiment.weights import load_run
from experiment.workdir import Workdir
from metrics.precision_recall import precision_recall
from samplers.classifier import classifier_guided
from samplers.guidance import classifier_free

plt.rcParams.update({
    "figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#762a83", "#666666"


def trained(variable, name):
    """(experiment, variables) of the run in that environment variable; None, and how to train one, if there is none."""
    workdir = Workdir(os.environ.get(variable, f"runs/{name}"))
    if not workdir.config_file.exists():
        print(f"no run: python main.py --mode=train --config=configs/vp/{name}.py --workdir={workdir.path}")
        return None
    experiment = build(workdir.config())
    step, variables = load_run(workdir, experiment.network, experiment.config)
    print(f"{name}: step {step}, {experiment.network.count():,} parameters")
    return experiment, variables


def rows(images, width=0.5):
    """One row of uint8 images [n, h, w, c] for each label."""
    pictures = [np.broadcast_to(row, (*row.shape[:3], 3)) for row in images.values()]
    n, columns = len(pictures), len(pictures[0])
    grid = image_grid(np.concatenate(pictures), columns)
    ax = plt.figure(figsize=(width * columns + 2.6, width * n + 0.3)).subplots()
    ax.imshow(grid, interpolation="nearest")
    ax.set_yticks((np.arange(n) + 0.5) * (len(grid) - 2) / n + 1, images.keys())
    ax.tick_params(length=0)
    ax.set(xticks=[])
    ax.spines[:].set_visible(False)
    plt.show()


# %% [markdown]
# ## 1. The judge
#
# A support vector machine that has seen the 1500 real training digits and nothing else. Two questions are asked of
# samples, each in two ways:
#
# * **fidelity**: the share *recognised* as the class that was asked for, and *precision*, the share that lies as close
#   to a real digit as real digits lie to each other;
# * **diversity**: *recall*, the same with real and drawn exchanged, and the *spread* of pixels within a class, relative
#   to that of real digits.
#
# Real digits held out of training set the marks. All that follows draws 297 digits of their classes, so
# that every number has the same sample size: a share of 90 % is known to about 2 %.

# %%
digits = data.create("digits")
REAL, TEST, LABELS = digits.train.arrays["image"], digits.test.arrays["image"], digits.test.arrays["label"]


def pixels(levels):
    return levels.reshape(len(levels), -1).astype(float)


def spread(levels):
    """Root mean variance of a pixel within a class."""
    return np.mean([np.sqrt(pixels(levels)[k == LABELS].var(0, ddof=1).mean()) for k in range(10)])


def judged(levels):
    """The four numbers of digits [297, 8, 8, 1], drawn to be LABELS."""
    near = precision_recall(pixels(levels), pixels(REAL))
    recognised = np.mean(judge.predict(pixels(levels)) == LABELS)
    return {"recognised": recognised, "precision": near.precision, "recall": near.recall,
            "spread": spread(levels) / spread(TEST)}  # fmt: skip


def table(found):
    """Rows of numbers by name."""
    print(f"{'':28}" + "".join(f"{name:>14}" for name in next(iter(found.values()))))
    for name, row in found.items():
        print(f"{name:28}" + "".join(f"{value:14.3f}" for value in row.values()))


judge = SVC(gamma=0.001).fit(pixels(REAL), digits.train.arrays["label"])
MARK = judged(TEST)
table({"real digits, held out": MARK})

# %% [markdown]
# **No wish at all**: the run that comes with the project was told no class and draws what it likes. **Look at** the
# first number: its digits are recognised as those that nobody asked for one time in ten.

# %%
run = load("digits", {"sampling.method": "dpmpp_2m", "sampling.grid": "log_snr", "sampling.evaluations": 20})
print(f"digits: step {run.step}, {run.experiment.network.count():,} parameters")
experiment, variables, settings, sde, codec = run.experiment, run.variables, run.experiment.settings, run.sde, run.codec
key_prior, key = jax.random.split(jax.random.key(0))
NOISE = sde.prior_sample(key_prior, TEST.shape)  # the same for all that follows: only the wish changes
told_nothing = jnp.full(len(LABELS), NO_CLASS)


def told(variables, labels):
    """The score of those classes [b], without any guidance; a network that is told no class has that of all digits."""
    return experiment.predict_fn(variables, condition=experiment.condition({"label": labels}))


@jax.jit
def draw(variables, labels):
    """One digit for each label; JAX traces this anew for a network of other weights."""
    return samplers.create(sde, told(variables, labels), settings)(key, NOISE[: len(labels)]).x


free = np.asarray(draw(variables, told_nothing))
rows({"held out": codec.stretch(TEST[:20]), "drawn": codec.to_uint8_display(free[:20])})
table({"drawn, no class asked for": judged(codec.decode(free)), "real digits, held out": MARK})

# %% [markdown]
# ## 2. Classes
#
# The network is told the class, and one time in ten of training nothing at all, so that it also knows the score of
# all digits. **Look at** the columns: one class each, and the last row, which was told nothing.

# %%
CLASSES = trained("RUN_CLASSES", "digits_classes")

# %%
if CLASSES:
    experiment, variables = CLASSES  # for all that follows, in the place of the run that is told no class
    settings, sde, codec = experiment.settings, experiment.process(variables), experiment.codec

    def of_classes(labels):
        return codec.to_uint8_display(np.asarray(draw(variables, jnp.asarray(labels))))

    shown = of_classes(np.append(np.tile(np.arange(10), 4), np.full(10, NO_CLASS)))
    names = ("told its class", " ", "  ", "   ", "told nothing")
    rows(dict(zip(names, shown.reshape(5, 10, 8, 8, 1), strict=True)))

# %% [markdown]
# ## 3. Guidance: fidelity against diversity
#
# Classifier-free guidance moves the score of the class away from that of all digits,
# $s = s_{all} + \mathrm{scale}\,(s_{class} - s_{all})$: 0 is the unconditional model, 1 the conditional one, more is
# more typical of the class than the data are. The scale is an argument of the compiled sampler, so the whole sweep
# below is **one compilation**; the last line counts them.
#
# **Look at** the columns, in each of which the starting noise is the same: the digits 2, 3, 5 and 8, four of each. Up
# to 2 the strokes become clearer. At 5 and 8 the digits of a class look alike, in hard black and white.

# %%
SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
if CLASSES:
    compiled = []

    @jax.jit
    def at_scale(variables, scale):
        compiled.append("guided")  # Python runs here only while JAX traces

        def score(x, t, labels):
            return told(variables, labels)(x, t)

        steered = classifier_free(sde, score, jnp.asarray(LABELS), told_nothing, scale)
        return samplers.create(sde, steered, settings)(key, NOISE).x

    by_scale = {scale: np.asarray(at_scale(variables, jnp.asarray(scale))) for scale in SCALES}
    order = np.concatenate([np.flatnonzero(k == LABELS)[:4] for k in (2, 3, 5, 8)])
    rows({f"scale {scale:g}": codec.to_uint8_display(x[order]) for scale, x in by_scale.items()})
    swept = {scale: judged(codec.decode(x)) for scale, x in by_scale.items()}
    table({f"scale {scale:g}": row for scale, row in swept.items()} | {"real digits, held out": MARK})
    print(f"\n{len(by_scale)} scales, {len(compiled)} compilation")


# %%
def curve(axes, found, colour, label, offset=(6, 5)):
    """Both pairs of fidelity and diversity, a point a scale."""
    for ax, x, y in zip(axes, ("recall", "spread"), ("precision", "recognised"), strict=True):
        points = np.array([(row[x], row[y]) for row in found.values()])
        ax.plot(*points.T, "o-", ms=5, color=colour, label=label)
        for scale, point in zip(found, points, strict=True):
            ax.annotate(f"{scale:g}", point, xytext=offset, textcoords="offset points", fontsize=9, color=colour)


def against_diversity(*curves):
    """The curves (found, colour, label, offset of the scales) and the mark of real digits."""
    axes = plt.figure(figsize=(12.5, 4.4)).subplots(1, 2)
    for found in curves:
        curve(axes, *found)
    for ax, x, y in zip(axes, ("recall", "spread"), ("precision", "recognised"), strict=True):
        ax.plot(MARK[x], MARK[y], "*", ms=15, color="black", label="real digits, held out")
        ax.set(xlabel=f"diversity: {x}", ylabel=f"fidelity: {y}")
    axes[0].legend(loc="lower left")
    plt.show()


if CLASSES:
    against_diversity((swept, BLUE, "guidance, by scale"))

# %% [markdown]
# **Look at** the left panel: from 0 to 2 the curve goes up, fidelity bought with diversity. Beyond 3 both are lost:
# the digits are typical in a way that real ones are not. The right panel says the price: at scale 2 the judge makes
# no mistake, and a class varies less than it does in reality. A scale of 1.5 is a good deal here, and 8 a bad one.
#
# ## 4. Too much of it: saturation
#
# At a large scale the score asks for more ink than there is. Against this there are, each a setting:
# guiding only on an **interval** of noise levels $\sigma/\alpha$ (`guidance_low`, `guidance_high`),
# giving the guided score its old deviation back (**rescale**), and keeping the denoised image in range
# (**threshold**: 'clip' cuts, 'dynamic' scales down what reaches out). *Out of range* is the share of pixels beyond
# black or white by more than half a grey level, *ink* the share of pixels that end fully white.

# %%
BEYOND = {
    "interval 0.5 to 2": {"guidance": 5.0, "guidance_low": 0.5, "guidance_high": 2.0},
    "rescale 0.7": {"guidance": 5.0, "guidance_rescale": 0.7},
    "threshold 'clip'": {"guidance": 5.0, "threshold": "clip"},
    "threshold 'dynamic', 0.9": {"guidance": 5.0, "threshold": "dynamic", "threshold_quantile": 0.9},
}
if CLASSES:

    def drawn_with(**options):
        chosen = dataclasses.replace(settings, **options)

        @jax.jit
        def draw(variables):
            score = guided(experiment, variables, chosen, sde, {"label": jnp.asarray(LABELS)})
            return samplers.create(sde, score, chosen)(key, NOISE).x

        return np.asarray(draw(variables))

    def saturation(x):
        low, high = (-1.0 if codec.centered else 0.0), 1.0
        margin = (high - low) / (2 * codec.levels)
        return {"out of range": np.mean((x < low - margin) | (x > high + margin)),
                "ink": np.mean(codec.decode(x) == codec.levels - 1)}  # fmt: skip

    found = {"scale 1": by_scale[1.0], "scale 5": by_scale[5.0]}
    found |= {f"5, {name}": drawn_with(**options) for name, options in BEYOND.items()}
    rows({name: codec.to_uint8_display(x[order]) for name, x in found.items()})
    real = {**MARK, "out of range": 0.0, "ink": np.mean(TEST == 16)}
    measured = {name: judged(codec.decode(x)) | saturation(x) for name, x in found.items()}
    table({**measured, "real digits, held out": real})

# %% [markdown]
# **Look at** `recall`, and at `out of range`. The interval gives most back: with it scale 5 has the precision of
# scale 3 without, more diversity, and the doubled network pass at only some of the steps. Clipping keeps the range and
# costs little precision. Dynamic thresholding, made for colour photographs, also dims: digits *are* black and white,
# and scaled down they turn grey (less ink than real ones, less precise). Rescaling does little here: the deviation of a
# score is mostly that of the noise in the image, which guidance hardly changes.
#
# ## 5. A classifier as the guide
#
# A classifier that was trained on noisy digits says $\log p(y \mid x_t)$. Its gradient, times a scale, is added to the
# score of the network **told nothing**: by Bayes' rule that is the score of the class. No conditional model is needed.

# %%
CLASSIFIER = trained("RUN_CLASSIFIER", "digits_classifier")

# %%
if CLASSES and CLASSIFIER:
    classifier, weights = CLASSIFIER

    @jax.jit
    def by_classifier(variables, weights, scale):
        says = classifier.log_prob_fn(weights, jnp.asarray(LABELS))
        steered = classifier_guided(sde, told(variables, told_nothing), says, scale)
        return samplers.create(sde, steered, settings)(key, NOISE).x

    found = {s: np.asarray(by_classifier(variables, weights, jnp.asarray(s))) for s in (1.0, 2.0, 4.0, 8.0)}
    rows({f"classifier, {s:g}": codec.to_uint8_display(x[order]) for s, x in found.items()})
    found = {s: judged(codec.decode(x)) for s, x in found.items()}
    against_diversity((swept, BLUE, "its own unconditional score"), (found, ORANGE, "a classifier", (-4, -15)))
    table({f"classifier, {s:g}": row for s, row in found.items()})

# %% [markdown]
# **Look at** the scales along the two curves: the classifier needs a larger one for the same effect, since its
# gradient is that of a small network that was never asked to have a good one. At scale 1, where Bayes' rule would
# make it the conditional model, fewer are recognised; with 4 and more the judge is content. At the same diversity its
# digits are less precise than those of the conditional model.
#
# ## 6. Inpainting
#
# Now the wish is the upper half of an image, and nothing is said of the class, so that any network of digits will do:
# that of the classes, of which the outputs below are, or without it the one of section 1. One network, and methods of
# `inverse.METHODS`, on the first 64 test digits. *Error* is the root mean square distance of the lower half from the
# digit's own, in grey levels of 16; *recognised* says whether the whole is still what it was. The known half must be
# **exact**, and is.


# %%
KNOWN = np.zeros((8, 8), bool)
KNOWN[:4] = True
STOCHASTIC = {"method": "ddim", "eta": 1.0}  # ancestral steps, for what goes back up or needs many
CLIPPED = {"threshold": "clip"}
METHODS = {
    "replacement": ("replacement", {}, {}),
    "consistent": ("consistent", {}, {}),
    "repaint": ("repaint", {"resamplings": 5, "jump": 5}, STOCHASTIC),
    "dps": ("dps", {}, {**STOCHASTIC, "evaluations": 50}),
    "pigdm": ("pigdm", {}, {}),
    "pigdm, clipped": ("pigdm", {}, CLIPPED),
}
BLANK, FAILED = np.array([[70, 105, 150], [178, 24, 43]], np.uint8)  # blue: not known; red: not finite

few = TEST[:64]
x0 = jnp.asarray(codec.centres()[few], jnp.float32)


def filling(method, options, changes):
    chosen = dataclasses.replace(settings, **changes)

    @jax.jit
    def fill(variables, y, measurement):
        score = guided(experiment, variables, chosen, sde, {"label": told_nothing[: len(y)]})
        sampler = inverse.create(sde, score, chosen, inverse.mask(KNOWN), method, **options)
        return sampler(key, NOISE[: len(y)], y, measurement)

    return fill


fills = {name: filling(*how) for name, how in METHODS.items()}
drawn = {"told nothing": np.asarray(draw(variables, told_nothing))[: len(few)]}
spent = {"told nothing": settings.evaluations}
for name, fill in fills.items():
    out = fill(variables, x0, inverse.mask(KNOWN))
    drawn[name], spent[name] = np.asarray(out.x), float(out.evaluations.mean())

some = np.arange(14)
pictures = {"real": codec.stretch(few[some])}
pictures["known"] = np.where(KNOWN[..., None], pictures["real"], BLANK)
painted = {}
print(f"{'':16}{'evaluations':>12}{'finite':>8}{'error':>8}{'recognised':>12}   known half exact")
for name, x in drawn.items():
    finite = np.isfinite(x).all(axis=(1, 2, 3))
    levels = codec.decode(np.nan_to_num(x))
    painted[name] = np.where(finite[some, None, None, None], codec.stretch(levels[some]), FAILED)
    off = (levels.astype(float) - few)[finite][:, ~KNOWN]
    error = np.sqrt(np.mean(off**2)) if finite.any() else np.nan
    recognised = np.mean(finite & (judge.predict(pixels(levels)) == LABELS[: len(few)]))
    exact = np.array_equal(levels[:, KNOWN], few[:, KNOWN])
    print(f"{name:16}{spent[name]:12.0f}{finite.mean():8.2f}{error:8.2f}{recognised:12.3f}   {exact}")
rows(pictures | painted)

# %% [markdown]
# **Look at** whether the halves belong to one digit. With 64 digits a share is known to about 6 %.
#
# * *replacement* and *consistent* cost nothing more than drawing. The network sees the known half only under noise, and
#   the halves often are of two digits.
# * *repaint* goes back up and denoises again until they agree, for four times the evaluations.
# * *dps* and *pigdm* ask how the denoised image depends on the sample, with a backward pass a step. *dps* in 50 small
#   steps fits best; *pigdm*, clipped, does what repaint does in 20 evaluations.
#
# **What fails:** *pigdm* without `threshold="clip"`: hardly an image is finite (red). At high noise the network's
# denoised image, its error divided by a small $\alpha$, lies far out of range, and the method trusts it. *posterior*,
# the exact answer for Gaussian data, saturates with this network and this sampler, and is left out.
#
# The mask is an argument too: the compiled sampler takes another one of the same shape as it is.

# %%
again = {"real": pictures["real"]}
side, frame = np.zeros((8, 8), bool), np.ones((8, 8), bool)
side[:, :4], frame[2:6, 2:6] = True, False
dots = np.random.default_rng(0).random((8, 8)) < 0.4
for name, known in (("left half", side), ("frame", frame), ("40 % of the pixels", dots)):
    again[name] = np.where(known[..., None], pictures["real"], BLANK)
    out = fills["repaint"](variables, x0, inverse.mask(known))
    again[f"{name}, filled"] = codec.to_uint8_display(np.asarray(out.x)[some])
rows(again)
print(f"4 masks, {fills['pigdm']._cache_size()} compilation")

# %% [markdown]
# ## 7. Colour for grey patches
#
# The same methods, another measurement: `inverse.grey()`. The network has seen 16 x 16 patches of the left four fifths
# of two photographs, a Chinese temple and a dahlia; these are from the right fifth. The denoised image is clipped
# again. **Look at** the three draws of repaint: each has the grey values, and its own colours. Replacement and
# consistent paint from a brighter box, and pixel by pixel. A draw is further from the truth than the grey itself:
# these patches have little colour, and a network trained for minutes does not know how little.

# %%
PHOTOS = trained("RUN_PHOTOS", "photo_patches_16")

# %%
if PHOTOS:
    photos, photo_variables = PHOTOS
    patches = photos.source.test[np.arange(200)]["image"]
    patches = patches[np.argsort(-patches.astype(float).std(axis=(1, 2)).mean(1))[:64:4]]  # more than plain sky
    grey, process = inverse.grey(), photos.process(photo_variables)
    truth = jnp.asarray(photos.codec.centres()[patches], jnp.float32)
    known = grey.apply(truth)

    def colouring(method, **options):
        chosen = dataclasses.replace(photos.settings, **STOCHASTIC, **CLIPPED)

        @jax.jit
        def colour(variables, key):
            key_prior, key_path = jax.random.split(key)
            score = guided(photos, variables, chosen, process, None)
            sampler = inverse.create(process, score, chosen, grey, method, **options)
            return sampler(key_path, process.prior_sample(key_prior, truth.shape), known).x

        return colour

    seen = np.asarray(jnp.broadcast_to(known, truth.shape))
    found = {"grey: all that is known": seen}
    for method, options in (("replacement", {}), ("consistent", {}), ("repaint", {"resamplings": 5, "jump": 5})):
        colour = colouring(method, **options)
        for draw_number in range(1 if method != "repaint" else 3):
            name = f"{method}, draw {draw_number + 1}" if method == "repaint" else method
            found[name] = np.asarray(colour(photo_variables, jax.random.key(draw_number)))
    rows({"truth": patches} | {name: photos.codec.to_uint8_display(x) for name, x in found.items()})
    for name, x in found.items():
        error = np.sqrt(np.mean((photos.codec.decode(x).astype(float) - patches) ** 2))
        off = float(jnp.abs(grey.residual(x, known)).max())
        print(f"{name:24} error {error:5.1f} of 255, grey values off by at most {off:.0e}")

# %% [markdown]
# ## 8. Variations, and the way between two
#
# **Variation** (SDEdit): noise an image up to time $t$ and sample back from there. **Look at** how long the digit
# stays: at 0.2 it is redrawn, at 0.4 some have become others, at 0.6 little of it is left. If the sampler is also told
# a *class*, by a network that knows them, it is redrawn as that one.

# %%
given = np.flatnonzero(np.isin(LABELS, (3, 4, 7)))[:14]


def varied(strength):
    @jax.jit
    def vary(variables, x, labels):
        return inverse.vary(sde, told(variables, labels), settings, strength)(key, x).x

    return vary


shown = {"real": codec.stretch(TEST[given])}
for strength in (0.2, 0.4, 0.6):
    vary = varied(strength)
    out = vary(variables, x0[given], told_nothing[: len(given)])
    shown[f"t = {strength}"] = codec.to_uint8_display(np.asarray(out))
if CLASSES:
    out = vary(variables, x0[given], jnp.full(len(given), 9))
    shown[f"t = {strength}, told: a 9"] = codec.to_uint8_display(np.asarray(out))
rows(shown)

# %% [markdown]
# **Interpolation**: the flow without randomness encodes both images as noise; in between lies an arc,
# not a line, since typical noise has a typical length. **Look at** the middle columns: strokes that move, not a double
# exposure, which is what fading the pixels makes (second row of each pair).

# %%
fractions = np.linspace(0.0, 1.0, 11)
first, second = (np.array([np.flatnonzero(k == LABELS)[2] for k in pair]) for pair in ((1, 4, 0), (7, 9, 6)))


@jax.jit
def between(variables, a, b):
    def score(x, t):
        return told(variables, jnp.full(len(x), NO_CLASS))(x, t)

    return inverse.interpolate(sde, score, a, b, fractions, rtol=1e-3, atol=1e-3)


a, b = x0[first], x0[second]
out = between(variables, a, b)
shares = fractions[:, None, None, None, None]
faded = np.asarray((1 - shares) * a + shares * b)
shown = {}
for i in range(len(first)):
    pair = f"{LABELS[first[i]]} to {LABELS[second[i]]}"
    shown[f"{pair}, through the noise"] = codec.to_uint8_display(np.asarray(out.x)[:, i])
    shown[f"{pair}, pixels faded"] = codec.to_uint8_display(faded[:, i])
rows(shown)
ends = np.abs(np.asarray(out.x)[[0, -1]] - np.stack([a, b])).max()
print(f"all converged: {bool(out.converged.all())}; the ends come back within {ends:.3f} (a grey level: {2 / 17:.3f})")
