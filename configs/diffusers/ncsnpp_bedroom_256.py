r"""google/ncsnpp-bedroom-256 of diffusers: NCSN++ on LSUN bedroom at 256 pixels (Song et al. 2021), 65.57 M parameters.

Command:  python main.py --mode=import --config=configs/diffusers/ncsnpp_bedroom_256.py \
          --workdir=runs/ncsnpp_bedroom_256 --checkpoint=FOLDER
          (FOLDER: a copy of the model's repository, with config.json), then --mode=sample or --mode=evaluate.
Hardware: one GPU samples it.
Expected: no number was published.
"""

from ml_collections import ConfigDict

from configs import large


def get_config() -> ConfigDict:
    return large.lsun(large.get_ve_256(sigma_max=378.0), "bedroom")
