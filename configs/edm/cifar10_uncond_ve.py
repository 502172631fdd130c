r"""edm-cifar10-32x32-uncond-ve.pkl of EDM: NCSN++ on CIFAR-10, 56.4 M parameters.

Command:  python main.py --mode=import --config=configs/edm/cifar10_uncond_ve.py \
          --workdir=runs/edm_cifar10_uncond_ve --checkpoint=edm-cifar10-32x32-uncond-ve.pkl
Training: python main.py --mode=train --config=configs/edm/cifar10_uncond_ve.py --workdir=runs/cifar10_uncond_ve
Hardware: published on eight V100, two days; one GPU samples it.
Expected: FID 1.98 in 35 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.as_ncsnpp(karras.cifar10()), fid=1.98, evaluations=35)
