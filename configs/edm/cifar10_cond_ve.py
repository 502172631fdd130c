r"""edm-cifar10-32x32-cond-ve.pkl of EDM: NCSN++ on CIFAR-10, class-conditional, 56.4 M parameters.

Command:  python main.py --mode=import --config=configs/edm/cifar10_cond_ve.py \
          --workdir=runs/edm_cifar10_cond_ve --checkpoint=edm-cifar10-32x32-cond-ve.pkl
Hardware: published on eight V100, two days; one GPU samples it.
Expected: FID 1.79 in 35 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.as_ncsnpp(karras.cifar10(label_dim=10)), fid=1.79, evaluations=35)
