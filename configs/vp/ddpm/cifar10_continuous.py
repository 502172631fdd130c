r"""DDPM's U-Net with the VP SDE on CIFAR-10, 35.22 M parameters.

Command:  python main.py --mode=train --config=configs/vp/ddpm/cifar10_continuous.py \
          --workdir=runs/vp_ddpm_cifar10_continuous
Hardware: published on 4 V100, 0.2 s a step.
Expected: FID of the ODE 3.69, 3.21 bits/dim (published).
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = cifar10.get_ddpm()
    return published.record(config, fid_ode=3.69, bits_per_dim=3.21)
