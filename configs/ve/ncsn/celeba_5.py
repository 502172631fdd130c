"""NCSN on CelebA at 64 pixels with technique 5 of NCSNv2, the moving average of the weights; 30.12 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsn/celeba_5.py --workdir=runs/ve_ncsn_celeba_5
Hardware: one GPU.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import celeba, ncsn


def get_config() -> ConfigDict:
    return ncsn.original(celeba.get_config(), ema=True)
