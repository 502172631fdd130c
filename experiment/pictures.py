"""Samples as files that say what they are: a grid of pictures with a caption, a player beside it, an array.

Each says how its samples were drawn, from which weights, and of which class and guidance.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from autoencoders import Codec
from experiment import cascade
from experiment.experiment import Experiment
from experiment.grids import CAPTION_WIDTH, captioned, captioned_grid, image_grid
from experiment.showing import MODALITIES
from experiment.workdir import set_aside
from experiment.writing import replacing

Facts = Mapping[str, Any]

IN_CAPTION = (
    *("dataset", "task", "prompt", "negative_prompt", "method", "evaluations", "class", "guidance", "guide"),
    *("upsampler", "seed", "checkpoint", "weights"),
)
"""The facts that a caption tells people, in this order; a file carries all of them."""


def save_decoded(
    path: Path,
    examples: np.ndarray,
    codec: Codec,
    facts: Facts,
    columns: int | None = None,
    texts: Sequence[str] = (),
    rate: float = 0.0,
) -> None:
    """Write decoded data as a grid of pictures so many `columns` wide, or vectors as one scatter.

    How an example becomes a picture is said by the modality of the codec (`experiment.showing`). The caption of `facts`
    stands below the grid, or above the scatter; the PNG file carries all of `facts` as text. Below each picture stands
    its own of `texts`, where these differ. Examples that move or sound are also written to the file of their player
    beside it, at so many frames or samples a second, unless `rate` is 0; of texts it holds the texts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    shown = MODALITIES[codec.pictures.modality]
    if shown.panels:
        images = shown.panels(examples, codec)
        grid = captioned_grid(images, texts, columns) if len(set(texts)) > 1 else image_grid(images, columns)
        picture = captioned(
            Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid), caption(facts), CAPTION_WIDTH
        )
        chunks = PngImagePlugin.PngInfo()
        for name, value in text.items():
            chunks.add_text(name, value)
        with replacing(path) as file:
            picture.save(file, format="png", pnginfo=chunks)
        if shown.play and (rate or not shown.timed):
            with replacing(path.with_suffix(shown.suffix)) as file:
                shown.play(file, examples, codec, rate)
        return
    from matplotlib.figure import Figure  # slow to import, and images do not need it

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(examples[:, 0], examples[:, min(1, examples.shape[1] - 1)], s=2)
    axes.set_aspect("equal")
    axes.set_title("\n".join(textwrap.wrap(caption(facts), 60)), fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100, metadata=text)


def beside(path: Path, codec: Codec) -> Path | None:
    """The file beside a picture in which its examples move, sound or can be read; None of those that do none of it."""
    suffix = MODALITIES[codec.pictures.modality].suffix
    return path.with_suffix(suffix) if suffix else None


def aside(path: Path, codec: Codec) -> Path:
    """The path of a picture, of which an earlier one and its player are set aside."""
    if player := beside(path, codec):
        set_aside(player)
    return set_aside(path)


def save_array(path: Path, facts: Facts, **arrays: np.ndarray) -> None:
    """Write an .npz of `arrays` that holds each of `facts` as a field beside them; a kill leaves no half of it."""
    fields: dict[str, Any] = {name: np.asarray("none" if value is None else value) for name, value in facts.items()}
    fields |= arrays
    with replacing(path) as file:
        np.savez_compressed(file, **fields)


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
