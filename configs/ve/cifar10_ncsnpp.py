"""NCSN++ trained by SMLD (VE, 1000 noise levels) on CIFAR-10, 62.69 M parameters.

Command:  python main.py --mode=train --config=configs/ve/cifar10_ncsnpp.py --workdir=runs/ve_cifar10_ncsnpp
Hardware: published on 4 V100, 0.2 s a step.
Expected: FID 2.45, IS 9.73 (published).
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = published.discrete(cifar10.get_ve())
    return published.record(config, fid=2.45, inception_score=9.73)
