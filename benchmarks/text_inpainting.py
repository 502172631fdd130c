"""Inpainting by words, measured: how often a digit of a scene is another one afterwards, of another colour, as asked.

python -m benchmarks.text_inpainting [--workdir=runs/scenes] [--scenes=200]

Each picture is one of the run's test set, of a combination that no training has shown. The square of one of its digits
is hidden, and the caption says another digit of another colour there, again of a combination that no training has
shown. `--mode=edit` fills the square in. The judge of `eval.judge` reads the result, and what lies outside of the
squares is compared with the picture, level by level. What is found goes to JSON.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

import experiment
import main as commands
from benchmarks.common import RESULTS, path_of
from data.scene import COLOURS, Scene, describe, held_out
from data.scenes import Scenes
from evaluation import adherence
from evaluation.report import environment
from experiment.workdir import write_text

MARGIN = 1
"""Pixels around the square of a digit that are hidden with it."""


def changed(scene: Scene, which: int, random: np.random.Generator) -> Scene:
    """The scene with another digit of another colour in place of one of its things, held out from training too."""
    thing = scene.things[which]
    while True:
        digit, colour = int(random.integers(10)), tuple(COLOURS)[random.integers(len(COLOURS))]
        things = list(scene.things)
        things[which] = thing._replace(digit=digit, colour=colour)
        found = scene._replace(things=tuple(things))
        if digit != thing.digit and colour != thing.colour and held_out(found):
            return found


def known(box: Int[np.ndarray, " 4"], size: int) -> Bool[np.ndarray, "size size"]:
    """The mask of what stays as it is: True outside of the square and of what lies within MARGIN of it."""
    top, left, bottom, right = box
    mask = np.ones((size, size), bool)
    mask[max(0, top - MARGIN) : bottom + MARGIN, max(0, left - MARGIN) : right + MARGIN] = False
    return mask


def written(scenes: Scenes, count: int, folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures, masks and prompts, as the files that `--mode=edit` takes; and themselves."""
    random, size = np.random.default_rng(seed), scenes.size
    pictures, masks, prompts = scenes.take(np.arange(count))["image"], [], []
    for name in ("pictures", "masks"):
        (folder / name).mkdir()
    for i, picture in enumerate(pictures):
        scene = scenes.scene(i)
        which = int(random.integers(len(scene.things)))
        masks.append(known(scenes.boxes(i)[which], size))
        prompts.append(describe(changed(scene, which, random)))
        Image.fromarray(picture).save(folder / "pictures" / f"{i:04d}.png")
        Image.fromarray(np.where(masks[-1], 255, 0).astype(np.uint8)).save(folder / "masks" / f"{i:04d}.png")
    (folder / "prompts.txt").write_text("\n".join(prompts))
    return pictures, np.stack(masks), prompts


def main(argv: Sequence[str] | None = None) -> None:
    """Edit, judge, print and write what was found as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=path_of, default="runs/scenes", help="a run of scenes that reads texts")
    flags.add_argument("--scenes", type=int, default=200)
    flags.add_argument("--guidance", type=float, default=0.0, help="0: the run's own")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--out", type=path_of, default=RESULTS / "text_inpainting.json")
    arguments = flags.parse_args(argv)
    run = experiment.load(arguments.workdir)
    judge, scenes = adherence.judge_of(run.experiment), run.experiment.source.test
    scenes = getattr(scenes, "records", scenes)
    if not judge or not isinstance(scenes, Scenes):
        raise SystemExit(f"error: {arguments.workdir} is no run of scenes with a judge (eval.judge=scenes)")
    config, count = run.config.copy_and_resolve_references(), arguments.scenes
    with tempfile.TemporaryDirectory() as name, config.unlocked():
        folder = Path(name)
        pictures, masks, prompts = written(scenes, count, folder, arguments.seed)
        config.sampling.prompt = f"@{folder / 'prompts.txt'}"
        config.sampling.guidance = arguments.guidance or config.sampling.guidance
        config.edit.update(
            task="inpaint", image=str(folder / "pictures"), mask=str(folder / "masks"), count=1, images=count
        )
        commands.run("edit", config, arguments.workdir)
    edits = (Path(arguments.workdir) / "edits").glob("*.npz")
    with np.load(max(edits, key=lambda file: file.stat().st_mtime)) as found:
        results = found["results"][:, 0]
    shown = adherence.shares(judge, prompts, results)
    before = adherence.shares(judge, prompts, pictures)
    outside = int((results != pictures)[masks].sum())
    print(f"of {count} edits the picture shows {' '.join(f'{part} {share:.1%}' for part, share in shown.items())}")
    print(f"before, {' '.join(f'{part} {share:.1%}' for part, share in before.items())}")
    print(f"{outside} of {masks.sum() * 3} levels outside of the masks differ")
    record = {"shown": shown, "before": before, "scenes": count, "levels_changed_outside": outside, "step": run.step}
    record |= {"guidance": config.sampling.guidance, "environment": environment()}
    write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
