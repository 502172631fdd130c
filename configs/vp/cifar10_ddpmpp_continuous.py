r"""DDPM++ with the VP SDE on CIFAR-10, 61.80 M parameters.

Command:  python main.py --mode=train --config=configs/vp/cifar10_ddpmpp_continuous.py \
          --workdir=runs/vp_cifar10_ddpmpp_continuous
Hardware: published on 4 V100, 0.2 s a step.
Expected: FID 2.55, IS 9.58, FID of the ODE 3.93, 3.16 bits/dim (published).
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = cifar10.get_config()
    return published.record(config, fid=2.55, inception_score=9.58, fid_ode=3.93, bits_per_dim=3.16)
