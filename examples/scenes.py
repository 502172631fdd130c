"""Look at the embedded text-to-image data: pictures with their captions, and what their judge makes of them.

    python examples/scenes.py [scenes.png]

The pictures are the first of the test set, in combinations that training shows and, in the lower half, in ones that it
never shows. The judge is trained on renderings of training digits, and these are renderings of test digits.
"""

import sys

import numpy as np
from PIL import Image

import data
from data.source import take
from evaluation.scene_judge import EVERY, SceneJudge, accuracy
from experiment.pictures import captioned_grid


def main(path: str, *, size: int = 32, pictures: int = 40, renderings: int = 6, judged: int = 4) -> dict[str, float]:
    """Write a grid of scenes, and return how often the judge is right, by part.

    Args:
      path: the PNG file.
      size: the side of a scene.
      pictures: how many the grid shows.
      renderings: of each training digit, that the judge learns from.
      judged: renderings of each test digit, that it is tried on.
    """
    half = np.arange(pictures // 2)
    sets = [take(data.create("scenes", size=size, unseen=unseen).test, half) for unseen in (False, True)]
    both = {field: np.concatenate([of_set[field] for of_set in sets]) for field in ("image", "caption")}
    Image.fromarray(captioned_grid(both["image"], both["caption"], columns=10)).save(path)
    print(f"{path} shows {len(both['image'])} scenes of {size} x {size} pixels")

    judge = SceneJudge.of_size(size, renderings=renderings)
    right = judge.judge(both["caption"], both["image"])[EVERY]
    for caption in both["caption"][~right]:
        print(f"the judge reads another scene in the picture of: {caption}")
    found = accuracy(judge, renderings=judged)
    print("the judge is right about", ", ".join(f"{part} {share:.1%}" for part, share in found.items()))
    return found


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["scenes.png"]))
