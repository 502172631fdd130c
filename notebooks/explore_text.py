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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/jax-score-sde/blob/main/notebooks/explore_text.ipynb)
#
# # Say it in words
#
# A network that is told a text draws what the text says, more or less. Guidance makes it more, and takes something for
# it. This notebook looks at a model of scenes, one or two handwritten digits of a colour, a size and a place on a
# ground, and asks of every picture what a reader of such pictures sees in it: **how strong to guide**, **by what**, a
# second score or a CLIP, **away from what**, **where the network looks** as it reads a word, and **how a part of a
# picture is painted anew**.
#
# All captions here are of combinations that no training has shown: no red zero, no green one, no two and seven in
# one picture. `make text` trains the model in less than half an hour, and one more command the CLIP. Without them the
# notebook says which command is missing.

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
import tempfile
from pathlib import Path

ROOT = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "sde_lib").is_dir()), Path.cwd())
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import experiment
import main
import models.attention as attention
from benchmarks.text_inpainting import written
from data.scene import COLOURS, DIGITS
from data.source import take
from evaluation.adherence import judge_of, shares
from evaluation.scene_judge import found
from experiment.pictures import image_grid
from metrics.precision_recall import precision_recall

plt.rcParams.update({
    "figure.dpi": 70, "figure.constrained_layout.use": True, "axes.titlesize": 11, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
})  # fmt: skip
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#2166ac", "#e08214", "#1b7837", "#b2182b", "#762a83", "#666666"


def folder(variable, name, command):
    """The folder of the run in that environment variable; None, and how to train one, if there is none."""
    path = Path(os.environ.get(variable, f"runs/{name}"))
    if not (path / "config.json").exists():
        print(f"no run {path}: `{command}` trains it")
        return None
    return path


def rows(pictures, titles=(), width=0.8):
    """One row of uint8 pictures [n, h, w, 3] for each label."""
    n, columns = len(pictures), len(next(iter(pictures.values())))
    grid = image_grid(np.concatenate(list(pictures.values())), columns)
    ax = plt.figure(figsize=(width * columns + 1.8, width * n + 0.4)).subplots()
    ax.imshow(grid, interpolation="nearest")
    ax.set_yticks((np.arange(n) + 0.5) * (len(grid) - 2) / n + 1, pictures.keys())
    side = grid.shape[1] / columns
    ax.set_xticks((np.arange(len(titles)) + 0.5) * side, titles, fontsize=8)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    plt.show()


def folded(text):
    """A caption in lines of three words, short enough to stand above its picture."""
    words = text.split()
    return "\n".join(" ".join(words[i : i + 3]) for i in range(0, len(words), 3))


# %%
TRAIN = "python main.py --mode=train --config=configs/text/scenes_clip.py --workdir=runs/scenes_clip"
SCENES, CLIP = folder("RUN_SCENES", "scenes", "make text"), folder("RUN_SCENES_CLIP", "scenes_clip", TRAIN)
N = int(os.environ.get("SAMPLES", "100"))
run = experiment.load(SCENES, {"eval.batch_size": N}) if SCENES else None
if run:
    judge = judge_of(run.experiment)
    real = take(run.experiment.source.test, np.arange(N))
    captions = [str(caption) for caption in real["caption"]]


def drawn(texts, count=N, seed=0, **options):
    """Pictures of these texts in turn, with options of ``config.sampling``; the same noise whatever the options."""
    told = run.experiment.reader.read([texts[i % len(texts)] for i in range(count)])
    with contextlib.redirect_stderr(io.StringIO()):  # which would show how far it is
        return run.sampler(**options)(jax.random.key(seed), count, **told)


# %% [markdown]
# ## 1. How strong
#
# Classifier-free guidance leads away from what the network would draw if it were told nothing, at *scale* 1 not at all.
# **Look at** the columns: the noise is the same, and what the picture shows settles as the scale grows. Then at the
# table: the reader finds more of the captions' parts, and the pictures come to resemble each other. *Precision* is how
# often a drawn picture lies among real ones, *recall* how often a real one lies among the drawn, both over pixels.

# %%
if run:
    SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)
    by_scale = {scale: drawn(captions, guidance=scale) for scale in SCALES}
    rows({f"scale {scale:g}": found_.x[:8] for scale, found_ in by_scale.items()}, [folded(c) for c in captions[:8]])

# %%
if run:
    flat = lambda pictures: pictures.reshape(len(pictures), -1).astype(float)  # noqa: E731
    table = {scale: shares(judge, captions, found_.x) for scale, found_ in by_scale.items()}
    near = {scale: precision_recall(flat(found_.x), flat(real["image"])) for scale, found_ in by_scale.items()}
    parts = list(next(iter(table.values())))
    print(f"{'scale':>12}", *(f"{part:>9}" for part in parts), "precision  recall")
    for scale, shown in table.items():
        close = f"{near[scale].precision:9.2f} {near[scale].recall:7.2f}"
        print(f"{scale:12g}", *(f"{shown[part]:9.0%}" for part in parts), close)
    print(f"{'real':>12}", *(f"{share:9.0%}" for share in shares(judge, captions, real["image"]).values()))

# %% [markdown]
# ## 2. By what: a second score, or a CLIP
#
# A CLIP of noisy pictures says how well a picture and a text go together, and its gradient leads the sampler that never
# hears of it. It takes one network, and its gradient, where classifier-free guidance takes the model twice. What it has
# learned is to tell the captions of one batch apart: which of two digits a word belongs to is seldom asked there, and
# so it is seldom answered.

# %%
if run and CLIP:
    CLIP_SCALES = (1.0, 2.0, 4.0)
    by_clip = {scale: drawn(captions, guide=str(CLIP), guidance=scale) for scale in CLIP_SCALES}
    rows({
        "not guided": by_scale[1.0].x[:8],
        **{f"CLIP, scale {scale:g}": found_.x[:8] for scale, found_ in by_clip.items()},
        "classifier-free, 4": by_scale[4.0].x[:8],
    }, [folded(c) for c in captions[:8]])  # fmt: skip
    print(f"{'':16}", *(f"{part:>9}" for part in parts), "  seconds a sample")
    for name, each in {
        "not guided": by_scale[1.0], **{f"CLIP {scale:g}": each for scale, each in by_clip.items()},
        "classifier-free": by_scale[4.0],
    }.items():  # fmt: skip
        shown = shares(judge, captions, each.x)
        print(f"{name:16}", *(f"{shown[part]:9.0%}" for part in parts), f"{each.seconds / N:12.3f}")

# %% [markdown]
# ## 3. Away from what
#
# A negative prompt stands in the place of *nothing*: guidance then leads away from what it says. The prompt here names
# no colour, and the reader counts which colours are drawn, with and without a negative prompt that names one.

# %%
if run:
    OPEN, NOT = "a large seven in the centre on grey", "a large red seven in the centre on grey"

    def colours(pictures):
        """How often each colour is the first thing's."""
        things = [found(picture)[1] for picture in pictures]
        return np.array([sum(bool(t) and t[0].colour == colour for t in things) for colour in COLOURS]) / len(pictures)

    ways = {"no negative prompt": {}, f"not “{NOT}”": {"negative_prompt": NOT}}
    opened = {name: drawn([OPEN], guidance=3.0, **options).x for name, options in ways.items()}
    rows({name.split("“")[0].strip(): pictures[:10] for name, pictures in opened.items()})
    figure, ax = plt.subplots(figsize=(7, 2.6))
    for i, (name, pictures) in enumerate(opened.items()):
        ax.bar(np.arange(len(COLOURS)) + 0.4 * i, colours(pictures), 0.38, color=(GREY, RED)[i], label=name)
    ax.set_xticks(np.arange(len(COLOURS)) + 0.2, COLOURS)
    ax.set(ylabel="share of the sevens", title=f"“{OPEN}”")
    ax.legend()
    plt.show()

# %% [markdown]
# ## 4. Where the network looks
#
# Every attention of this network looks at the words and at the pixels at once. A watcher in the place of
# `models.attention.attend` keeps what it is asked: for each place of a 8 x 8 grid, how much of its attention goes to
# each word. The picture is a real one, noised, so that it is known where the things are. **Look at** the digits' words:
# the places of a thing look at the word that names it. The number says how much more than elsewhere, over 64 pictures.


# %%
def looks(pictures, texts, t):
    """The attention [n, h, w, tokens] from the places of the finest grid that attends to the words of the texts."""
    seen, attend = [], attention.attend

    def watched(query, key, value, **options):
        logits = jnp.einsum("bnhw,bmhw->bhnm", query, key) * query.shape[-1] ** -0.5
        seen.append(np.asarray(jax.nn.softmax(logits)[..., : key.shape[1] - query.shape[1]].mean(1)))
        return attend(query, key, value, **options)

    of_run, time = run.experiment, jnp.full(len(pictures), t)
    x = of_run.codec.encode(pictures)
    mean, deviation = run.sde.marginal(x, time)
    noised = mean + deviation[:, None, None, None] * jax.random.normal(jax.random.key(1), x.shape)
    attention.attend = watched
    try:
        of_run.predict_fn(run.variables, condition=of_run.condition(of_run.reader.read(texts)))(noised, time)
    finally:
        attention.attend = attend
    places = max(each.shape[1] for each in seen)
    side = int(places**0.5)
    of_layers = [each for each in seen if each.shape[1] == places]
    return np.mean(of_layers, 0).reshape(len(pictures), side, side, -1), noised


# %%
if run:
    of_scenes = run.experiment.source.test.records
    two = [i for i in range(200) if len(of_scenes.scene(i).things) == 2][:64]
    chosen = take(run.experiment.source.test, np.array(two))
    texts = [str(caption) for caption in chosen["caption"]]
    maps, noised = looks(chosen["image"], texts, 0.5)
    figure, axes = plt.subplots(3, 8, figsize=(10, 4.2))
    for line, i in zip(axes, (0, 1, 2), strict=True):
        words = texts[i].split()
        kept = [p for p, word in enumerate(words) if word not in ("a", "of", "on", "left", "right")][:6]
        line[0].imshow(chosen["image"][i])
        line[1].imshow(run.codec.decode(np.asarray(noised[i : i + 1]))[0])
        for ax, p in zip(line[2:], kept, strict=False):
            ax.imshow(maps[i, ..., p], cmap="magma", vmin=0)
            ax.set_title(words[p])
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    plt.show()
    size, side, ratios = chosen["image"].shape[1], maps.shape[1], {"its own": [], "the other": []}
    for i, number in enumerate(two):
        scene, boxes = of_scenes.scene(number), of_scenes.boxes(number) * side // size
        words, digits = texts[i].split(), [thing.digit for thing in scene.things]
        if digits[0] == digits[1]:
            continue
        for k, digit in enumerate(digits):
            of_word = maps[i, ..., words.index(DIGITS[digit])]
            for name, (top, left, bottom, right) in zip(ratios, (boxes[k], boxes[1 - k]), strict=True):
                ratios[name].append(of_word[top : bottom + 1, left : right + 1].mean() / of_word.mean())
    for name, ratio in ratios.items():
        print(f"attention to a digit's word from {name} thing's place: {np.mean(ratio):.2f} times the picture's mean")

# %% [markdown]
# ## 5. A part painted anew
#
# `--mode=edit` with a prompt paints what a mask hides, and leaves every other level as it is. The square of one thing
# is hidden, and the caption says another digit of another colour there. `python -m benchmarks.text_inpainting` counts
# how often that succeeds with 200 scenes.

# %%
if run:
    count = min(8, N)
    config = run.config.copy_and_resolve_references()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()), config.unlocked():
        pictures, masks, asked = written(run.experiment.source.test.records, count, Path(name), seed=1)
        config.sampling.prompt = f"@{name}/prompts.txt"
        config.edit.update(
            task="inpaint", image=f"{name}/pictures", mask=f"{name}/masks", count=1, images=count
        )  # fmt: skip
        main.run("edit", config, str(SCENES))
        newest = max((SCENES / "edits").glob("*.npz"), key=lambda file: file.stat().st_mtime)
    with np.load(newest) as array:
        results = array["results"][:, 0]
    hidden = np.where(masks[..., None], pictures, 128).astype(np.uint8)
    rows({"the picture": pictures, "what is kept": hidden, "painted": results}, [folded(a) for a in asked])
    shown = shares(judge, asked, results)
    print(f"as asked: {shown[parts[-1]]:.0%}; levels changed outside: {(results != pictures)[masks].sum()}")

# %% [markdown]
# The same sampler options work on the command line: `--config.sampling.prompt`, `.negative_prompt`, `.guidance`,
# `.guide`; and a published Stable Diffusion is used no otherwise ([docs/text.md](../docs/text.md)).
