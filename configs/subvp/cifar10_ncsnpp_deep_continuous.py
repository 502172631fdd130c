r"""NCSN++ with the sub-VP SDE on CIFAR-10, eight blocks a level, 107.52 M parameters.

Command:  python main.py --mode=train --config=configs/subvp/cifar10_ncsnpp_deep_continuous.py \
          --workdir=runs/subvp_cifar10_ncsnpp_deep_continuous
Hardware: published on 4 V100, 0.2 s a step.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = published.deep(cifar10.get_ncsnpp())
    config.sde.name = "subvp"
    return config
