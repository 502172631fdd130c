"""NCSN++ with the VE SDE on CIFAR-10, told the class: for classifier-free guidance. Not published; 62.8 M parameters.

Command:  python main.py --mode=train --config=configs/ve/cifar10_ncsnpp_classes.py --workdir=runs/ve_classes
          python main.py --mode=evaluate --config=configs/ve/cifar10_ncsnpp_classes.py --workdir=runs/ve_classes \
            --config.sampling.guidance=1.5
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_ve()
    with config.unlocked():
        config.model.label_dim = 10
    return config
