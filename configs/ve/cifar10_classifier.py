r"""A classifier of CIFAR-10 under VE noise, to guide configs/ve/cifar10_ncsnpp_continuous.py.

Command:  python main.py --mode=train --config=configs/ve/cifar10_classifier.py \
          --workdir=runs/ve_cifar10_classifier
Hardware: one GPU.
Expected: no published number; --mode=evaluate gives the accuracy at each noise level.
"""

from ml_collections import ConfigDict

from configs import classifier
from configs.ve import cifar10_ncsnpp_continuous


def get_config() -> ConfigDict:
    return classifier.cifar10(cifar10_ncsnpp_continuous.get_config())
