r"""google/ncsnpp-celebahq-256 of diffusers: NCSN++ on CelebA-HQ at 256 pixels (Song et al. 2021), 65.57 M parameters.

Command:  python main.py --mode=import --config=configs/diffusers/ncsnpp_celebahq_256.py \
          --workdir=runs/ncsnpp_celebahq_256 --checkpoint=FOLDER
          (FOLDER: a copy of the model's repository, with config.json), then --mode=sample or --mode=evaluate.
Hardware: one GPU samples it.
Expected: no number was published.
"""

from ml_collections import ConfigDict

from configs import large


def get_config() -> ConfigDict:
    return large.celebahq(large.get_ve_256(sigma_max=348.0))
