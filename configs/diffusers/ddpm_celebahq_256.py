r"""google/ddpm-celebahq-256 of diffusers: DDPM on CelebA-HQ at 256 pixels (Ho et al. 2020), 113,673,219 parameters.

Command:  python main.py --mode=import --config=configs/diffusers/ddpm_celebahq_256.py \
          --workdir=runs/ddpm_celebahq_256 --checkpoint=FOLDER
          (FOLDER: a copy of the model's repository, with config.json), then --mode=sample or --mode=evaluate.
Hardware: published on a TPU v3-8; one GPU samples it.
Expected: no number was published.
"""

from ml_collections import ConfigDict

from configs import hub, large


def get_config() -> ConfigDict:
    return hub.ddpm(large.celebahq(large.get_ddpm_256()))
