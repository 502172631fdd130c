"""NCSNv2 on CIFAR-10: 232 noise levels from sigma 50, 29.69 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsnv2/cifar10.py --workdir=runs/ve_ncsnv2_cifar10
Hardware: one GPU.
Expected: a recipe without published numbers.

Its paper reports step 300,000.
"""

from ml_collections import ConfigDict

from configs import cifar10, ncsn


def get_config() -> ConfigDict:
    return ncsn.ncsnv2(cifar10.get_ve(), num_scales=232, snr=0.176, n_steps_each=5, network="ncsnv2_64")
