"""Draw digits with the trained run that comes with the project: a picture within a minute of the installation.

    python examples/first_picture.py [FILE.png]

The run is `make demo`'s, 750,000 parameters (`experiment/pretrained/`). Any other is loaded alike, by its folder.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

from experiment import load
from experiment.pictures import save_decoded


def main(file: str = "digits.png", samples: int = 64, evaluations: int = 20) -> np.ndarray:
    """Draw so many digits with so many evaluations of the network each, and write them as one picture."""
    began = time.perf_counter()
    run = load("digits")
    drawn = run.sampler("dpmpp_2m", evaluations=evaluations)(jax.random.key(0), samples)
    facts = {"dataset": "digits", "method": "dpmpp_2m", "evaluations": evaluations, "checkpoint": run.step}
    save_decoded(Path(file), drawn.x, run.codec, facts)
    print(f"{file}: {samples} digits, {time.perf_counter() - began:.0f} s with loading and compiling")
    return drawn.x  # levels 0 to 16, [samples, 8, 8, 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default="digits.png", help="the picture to write, such as digits.png")
    file = parser.parse_args().file
    if Path(file).suffix.lower() != ".png":
        parser.error(f"the picture is written as PNG, and {file!r} names another kind; give a name that ends in .png")
    main(file)
