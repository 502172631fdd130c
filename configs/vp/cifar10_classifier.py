r"""A classifier of CIFAR-10 under VP noise, to guide configs/vp/cifar10_ddpmpp_continuous.py.

Command:  python main.py --mode=train --config=configs/vp/cifar10_classifier.py \
          --workdir=runs/vp_cifar10_classifier
Hardware: one GPU.
Expected: no published number; --mode=evaluate gives the accuracy at each noise level.
"""

from ml_collections import ConfigDict

from configs import classifier
from configs.vp import cifar10_ddpmpp_continuous


def get_config() -> ConfigDict:
    return classifier.cifar10(cifar10_ddpmpp_continuous.get_config())
