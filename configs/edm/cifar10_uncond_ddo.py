r"""edm-cifar10-uncond-vp-ddo.pkl of direct discriminative optimisation (arXiv:2503.01103): DDPM++ on CIFAR-10.

It is edm-cifar10-32x32-uncond-vp.pkl, tuned to tell data from its own samples by the ratio of likelihoods; what is not
of sampling is that file's training.

Command:  python main.py --mode=import --config=configs/edm/cifar10_uncond_ddo.py \
          --workdir=runs/cifar10_uncond_ddo --checkpoint=edm-cifar10-uncond-vp-ddo.pkl
Hardware: one GPU samples it.
Expected: FID 1.38 in 35 evaluations with EDM's sampler (published).
"""

from ml_collections import ConfigDict

from configs import karras


def get_config() -> ConfigDict:
    return karras.record(karras.cifar10(), fid=1.38, evaluations=35)
