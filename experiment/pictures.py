"""Samples as files that say what they are: a grid of images with a caption, a scatter of points, an array.

Each says how its samples were drawn, from which weights, and of which class and guidance.
"""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from autoencoders import Codec
from experiment import cascade
from experiment.experiment import Experiment
from experiment.writing import replacing

Facts = Mapping[str, Any]

IN_CAPTION = (
    *("dataset", "task", "prompt", "negative_prompt", "method", "evaluations", "class", "guidance", "guide"),
    *("upsampler", "seed", "checkpoint", "weights"),
)
"""The facts that a caption tells people, in this order; a file carries all of them."""

MIN_SIDE = 32  # smaller images are enlarged, pixel by pixel, so that a person can see them
TOLD_SIDE = 112  # and larger those that have a text of their own, which stands below each in a few lines
FONT_SIZE = 11


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """uint8 images [n, h, w, c] side by side with a line between: [H, W, c], white where the last row is short.

    Raises:
      ValueError: images of another type, whose range would be a guess.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"a grid is of uint8 images, and these are {images.dtype}; see GreyLevels.to_uint8_display")
    n, h, w, c = images.shape
    enlarge = max(1, math.ceil(MIN_SIDE / max(h, w)))
    images = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    step = images.shape[1] + 2, images.shape[2] + 2
    grid = np.full((rows * step[0] + 2, columns * step[1] + 2, c), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * step[0] + 2, (i % columns) * step[1] + 2
        grid[top : top + image.shape[0], left : left + image.shape[1]] = image
    return grid


def captioned_grid(images: np.ndarray, captions: Sequence[str], columns: int | None = None) -> np.ndarray:
    """uint8 images [n, h, w, 1 or 3] side by side, each with its own text below it: [H, W, c].

    Raises:
      ValueError: images of another type, or another number of texts.
    """
    if images.dtype != np.uint8 or len(images) != len(captions):
        raise ValueError(
            f"a grid is of uint8 images, each with its text; these are {len(images)} of {images.dtype} with "
            f"{len(captions)} texts"
        )
    enlarge = max(1, math.ceil(TOLD_SIDE / images.shape[2]))
    larger = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    cells = [
        np.asarray(_captioned(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), str(text)))
        for image, text in zip(larger, captions, strict=True)
    ]
    height = max(len(cell) for cell in cells)
    same = [np.pad(cell, [(0, height - len(cell)), *[(0, 0)] * (cell.ndim - 1)], constant_values=255) for cell in cells]
    return image_grid(np.stack(same).reshape(len(images), height, larger.shape[2], -1), columns)


def save_decoded(
    path: Path,
    examples: np.ndarray,
    codec: Codec,
    facts: Facts,
    columns: int | None = None,
    texts: Sequence[str] = (),
) -> None:
    """Write grey levels as a grid so many `columns` wide, or points as a scatter.

    The caption of `facts` stands below the grid, or above the scatter; the PNG file carries all of `facts` as text.
    Below each image stands its own of `texts`, where these differ.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    if examples.ndim == 4:
        images = np.asarray(codec.stretch(examples))
        grid = captioned_grid(images, texts, columns) if len(set(texts)) > 1 else image_grid(images, columns)
        picture = _captioned(Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid), caption(facts))
        chunks = PngImagePlugin.PngInfo()
        for name, value in text.items():
            chunks.add_text(name, value)
        with replacing(path) as file:
            picture.save(file, format="png", pnginfo=chunks)
        return
    from matplotlib.figure import Figure  # slow to import, and images do not need it

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(examples[:, 0], examples[:, min(1, examples.shape[1] - 1)], s=2)
    axes.set_aspect("equal")
    axes.set_title("\n".join(textwrap.wrap(caption(facts), 60)), fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100, metadata=text)


def save_array(path: Path, facts: Facts, **arrays: np.ndarray) -> None:
    """Write an .npz of `arrays` that holds each of `facts` as a field beside them; a kill leaves no half of it."""
    fields: dict[str, Any] = {name: np.asarray("none" if value is None else value) for name, value in facts.items()}
    fields |= arrays
    with replacing(path) as file:
        np.savez_compressed(file, **fields)


def _captioned(picture: Image.Image, text: str) -> Image.Image:
    """The picture with the text, in lines as long as it is wide, on white below it."""
    font = ImageFont.load_default(FONT_SIZE)
    letters = max(8, int((picture.width - 4) / font.getlength("n")))
    lines = textwrap.wrap(text, letters)
    if not lines:
        return picture
    height = FONT_SIZE + 3
    larger = Image.new(picture.mode, (picture.width, picture.height + height * len(lines) + 2), "white")
    larger.paste(picture)
    draw = ImageDraw.Draw(larger)
    for i, line in enumerate(lines):
        draw.text((2, picture.height + i * height), line, fill="black", font=font)
    return larger


def facts_of(
    experiment: Experiment, method: str, *, step: int, seed: int, evaluations: float, weights: str = "average"
) -> dict[str, Any]:
    """Everything that could explain samples of `method`, as JSON values.

    Args:
      experiment: the run that they were drawn from.
      method: the sampler's name, whose own settings are among the facts.
      step: the training step of the weights.
      seed: the seed of the noise.
      evaluations: the mean number of score evaluations a sample.
      weights: which of that step they are, in words (`experiment.weights.kind`).
    """
    settings: dict[str, Any] = experiment.settings_of(method).used()
    label = settings.pop("label", -1)
    facts = {
        "dataset": experiment.config.data.dataset,
        "levels": experiment.source.levels,
        "method": method,
        "evaluations": round(float(evaluations), 2),
        "seed": seed,
        "checkpoint": step,
        "weights": weights,
    }
    if skipped := experiment.config.data.clip_skip:
        facts["clip_skip"] = skipped
    if experiment.sampled_classes:
        facts["class"] = label if label >= 0 else "each in turn"
    return {**settings, **facts, **cascade.about(experiment)}


def caption(facts: Facts) -> str:
    """One line for people, such as "digits, heun, evaluations 20, class 3, guidance 2.0, seed 0, checkpoint 1200"."""
    bare = ("dataset", "task", "method")
    told = [f"{facts[name]}" if name in bare else f"{name} {facts[name]}" for name in IN_CAPTION if name in facts]
    return ", ".join(told)


def file_name(stem: str, experiment: Experiment) -> str:
    """The name `stem`, followed by the class where one was chosen, the guidance, and whether samples are enlarged."""
    settings = experiment.settings
    stem += f"_label_{settings.label}" if settings.label >= 0 else ""
    guided = settings.guidance_scale != 1.0 or settings.guide
    stem += f"_guidance_{settings.guidance:g}" if guided else ""
    return stem + ("_upsampled" if experiment.upsampler else "")
