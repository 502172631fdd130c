r"""NCSN++ with the VP SDE on CIFAR-10, 62.69 M parameters.

Command:  python main.py --mode=train --config=configs/vp/cifar10_ncsnpp_continuous.py \
          --workdir=runs/vp_cifar10_ncsnpp_continuous
Hardware: published on 4 V100, 0.2 s a step.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    return cifar10.get_ncsnpp()
