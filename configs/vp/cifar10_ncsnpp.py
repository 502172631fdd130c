"""NCSN++ with filters trained as DDPM (VP, 1000 noise levels) on CIFAR-10, 62.69 M parameters.

Command:  python main.py --mode=train --config=configs/vp/cifar10_ncsnpp.py --workdir=runs/vp_cifar10_ncsnpp
Hardware: published on 4 V100, 0.2 s a step.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = cifar10.get_ncsnpp()
    config.sampling.predictor = "reverse_diffusion"
    return published.discrete(config)
