"""NCSN on CIFAR-10: ten noise levels from sigma 1, 30.12 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsn/cifar10.py --workdir=runs/ve_ncsn_cifar10
Hardware: one GPU.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, ncsn


def get_config() -> ConfigDict:
    return ncsn.original(cifar10.get_ve())
