r"""edm-cifar10-32x32-cond-vp.pkl of EDM: DDPM++ on CIFAR-10, class-conditional, 55.7 M parameters.

Command:  python main.py --mode=import --config=configs/edm/cifar10_cond_vp.py \
          --workdir=runs/edm_cifar10_cond_vp --checkpoint=edm-cifar10-32x32-cond-vp.pkl
Hardware: published on eight V100, two days; one GPU samples it.
Expected: FID 1.79 in 35 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.cifar10(label_dim=10), fid=1.79, evaluations=35)
