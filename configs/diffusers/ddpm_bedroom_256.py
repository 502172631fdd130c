r"""google/ddpm-bedroom-256 of diffusers: DDPM on LSUN bedroom at 256 pixels (Ho et al. 2020), 113,673,219 parameters.

Command:  python main.py --mode=import --config=configs/diffusers/ddpm_bedroom_256.py \
          --workdir=runs/ddpm_bedroom_256 --checkpoint=FOLDER
          (FOLDER: a copy of the model's repository, with config.json), then --mode=sample or --mode=evaluate.
Hardware: published on a TPU v3-8; one GPU samples it.
Expected: FID 6.36 (published).
"""

from ml_collections import ConfigDict

from configs import hub, large


def get_config() -> ConfigDict:
    return hub.ddpm(large.lsun(large.get_ddpm_256(), "bedroom"), fid=6.36)
