r"""DDPM's U-Net with the sub-VP SDE on CIFAR-10, 35.22 M parameters.

Command:  python main.py --mode=train --config=configs/subvp/cifar10_ddpm_continuous.py \
          --workdir=runs/subvp_cifar10_ddpm_continuous
Hardware: published on 4 V100, 0.2 s a step.
Expected: FID of the ODE 3.56, 3.05 bits/dim (published).
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = cifar10.get_ddpm()
    config.sde.name = "subvp"
    return published.record(config, fid_ode=3.56, bits_per_dim=3.05)
