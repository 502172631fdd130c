"""NCSN on CelebA at 64 pixels with techniques 1, 2 and 4 of NCSNv2, 500 noise levels from sigma 90: 51.38 M.

Command:  python main.py --mode=train --config=configs/ve/ncsn/celeba_124.py --workdir=runs/ve_ncsn_celeba_124
Hardware: one GPU.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import celeba, ncsn


def get_config() -> ConfigDict:
    return ncsn.ncsn(celeba.get_config(), num_scales=500, snr=0.128, n_steps_each=5, ema=False)
