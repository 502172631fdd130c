"""DDPM's U-Net trained by SMLD (VE, 1000 noise levels) on CIFAR-10, 35.22 M parameters.

Command:  python main.py --mode=train --config=configs/ve/cifar10_ddpm.py --workdir=runs/ve_cifar10_ddpm
Hardware: published on 4 V100, 0.2 s a step.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = cifar10.as_ve(cifar10.get_ddpm(), sigma_max=50.0)
    with config.unlocked():
        config.model.scale_by_sigma = True
    return published.discrete(config)
