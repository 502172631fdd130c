r"""DDPM on CIFAR-10 that is never told the noise level, 32.33 M parameters.

Command:  python main.py --mode=train --config=configs/vp/ddpm/cifar10_unconditional.py \
          --workdir=runs/vp_ddpm_cifar10_unconditional
Hardware: published on 4 V100, 0.2 s a step.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = published.discrete(cifar10.get_ddpm())
    with config.unlocked():
        config.model.conditional = False
    return config
