"""NCSN on CIFAR-10 with technique 5 of NCSNv2, the moving average of the weights; 30.12 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsn/cifar10_5.py --workdir=runs/ve_ncsn_cifar10_5
Hardware: one GPU.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, ncsn


def get_config() -> ConfigDict:
    return ncsn.original(cifar10.get_ve(), ema=True)
