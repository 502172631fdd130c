"""NCSN on CIFAR-10 with techniques 1, 2, 4 and 5 of NCSNv2, 232 noise levels from sigma 50: 39.75 M.

Command:  python main.py --mode=train --config=configs/ve/ncsn/cifar10_1245.py --workdir=runs/ve_ncsn_cifar10_1245
Hardware: one GPU.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, ncsn


def get_config() -> ConfigDict:
    return ncsn.ncsn(cifar10.get_ve(), num_scales=232, snr=0.176, n_steps_each=5, ema=True)
