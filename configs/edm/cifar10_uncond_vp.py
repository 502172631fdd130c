r"""edm-cifar10-32x32-uncond-vp.pkl of EDM: DDPM++ on CIFAR-10, 55.7 M parameters.

Command:  python main.py --mode=import --config=configs/edm/cifar10_uncond_vp.py \
          --workdir=runs/edm_cifar10_uncond_vp --checkpoint=edm-cifar10-32x32-uncond-vp.pkl
Training: python main.py --mode=train --config=configs/edm/cifar10_uncond_vp.py --workdir=runs/cifar10_uncond_vp
Hardware: published on eight V100, two days; one GPU samples it.
Expected: FID 1.97 in 35 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.cifar10(), fid=1.97, evaluations=35)
