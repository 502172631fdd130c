"""DDPM++ with the VP SDE on CIFAR-10, told the class: for classifier-free guidance. Not published; 61.8 M parameters.

Command:  python main.py --mode=train --config=configs/vp/cifar10_ddpmpp_classes.py --workdir=runs/cifar10_classes
          python main.py --mode=evaluate --config=configs/vp/cifar10_ddpmpp_classes.py --workdir=runs/cifar10_classes \
            --config.sampling.guidance=1.5
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_config()
    with config.unlocked():
        config.model.label_dim = 10
    return config
