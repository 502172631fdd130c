"""NCSN++ trained by SMLD (VE, 1000 noise levels) on CelebA at 64 pixels, 62.69 M parameters.

Command:  python main.py --mode=train --config=configs/ve/celeba_ncsnpp.py --workdir=runs/ve_celeba_ncsnpp
Hardware: four to eight GPUs.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import celeba, published


def get_config() -> ConfigDict:
    return published.discrete(celeba.get_config())
