r"""google/ddpm-cifar10-32 of diffusers: DDPM on CIFAR-10 (Ho et al. 2020), 35,746,307 parameters.

Command:  python main.py --mode=import --config=configs/diffusers/ddpm_cifar10_32.py \
          --workdir=runs/ddpm_cifar10_32 --checkpoint=FOLDER
          (FOLDER: a copy of the model's repository, with config.json), then --mode=sample or --mode=evaluate.
Hardware: published on a TPU v3-8; one GPU samples it.
Expected: FID 3.17, IS 9.46 (published).
"""

from ml_collections import ConfigDict

from configs import cifar10, hub


def get_config() -> ConfigDict:
    return hub.ddpm(cifar10.get_ddpm(), fid=3.17, inception_score=9.46)
