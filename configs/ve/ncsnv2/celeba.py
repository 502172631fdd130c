"""NCSNv2 on CelebA at 64 pixels: 500 noise levels from sigma 90, 29.69 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsnv2/celeba.py --workdir=runs/ve_ncsnv2_celeba
Hardware: one GPU.
Expected: a recipe without published numbers.

Its paper reports step 210,000.
"""

from ml_collections import ConfigDict

from configs import celeba, ncsn


def get_config() -> ConfigDict:
    return ncsn.ncsnv2(celeba.get_config(), num_scales=500, snr=0.128, n_steps_each=5, network="ncsnv2_64")
