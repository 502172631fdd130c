r"""DDPM++ with the VP SDE on CIFAR-10, eight blocks a level, 106.63 M parameters.

Command:  python main.py --mode=train --config=configs/vp/cifar10_ddpmpp_deep_continuous.py \
          --workdir=runs/vp_cifar10_ddpmpp_deep_continuous
Hardware: published on 4 V100, 0.2 s a step.
Expected: FID 2.41, IS 9.68, FID of the ODE 3.08, 3.13 bits/dim (published).
"""

from ml_collections import ConfigDict

from configs import cifar10, published


def get_config() -> ConfigDict:
    config = published.deep(cifar10.get_config())
    return published.record(config, fid=2.41, inception_score=9.68, fid_ode=3.08, bits_per_dim=3.13)
