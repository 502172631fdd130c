r"""edm-cifar10-cond-vp-ddo.pkl of direct discriminative optimisation (arXiv:2503.01103): DDPM++ on CIFAR-10 by class.

It is edm-cifar10-32x32-cond-vp.pkl, tuned to tell data from its own samples by the ratio of likelihoods; what is not
of sampling is that file's training.

Command:  python main.py --mode=import --config=configs/edm/cifar10_cond_ddo.py \
          --workdir=runs/cifar10_cond_ddo --checkpoint=edm-cifar10-cond-vp-ddo.pkl
Hardware: one GPU samples it.
Expected: FID 1.30 in 35 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.cifar10(label_dim=10), fid=1.3, evaluations=35)
