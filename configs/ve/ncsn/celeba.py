"""NCSN on CelebA at 64 pixels: ten noise levels from sigma 1, 30.12 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsn/celeba.py --workdir=runs/ve_ncsn_celeba
Hardware: one GPU.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import celeba, ncsn


def get_config() -> ConfigDict:
    return ncsn.original(celeba.get_config())
