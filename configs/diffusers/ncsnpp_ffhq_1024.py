r"""google/ncsnpp-ffhq-1024 of diffusers: NCSN++ on FFHQ at 1024 pixels (Song et al. 2021), 105.79 M parameters.

Command:  python main.py --mode=import --config=configs/diffusers/ncsnpp_ffhq_1024.py \
          --workdir=runs/ncsnpp_ffhq_1024 --checkpoint=FOLDER
          (FOLDER: a copy of the model's repository, with config.json), then --mode=sample or --mode=evaluate.
Hardware: one GPU samples it.
Expected: no number was published.
"""

from ml_collections import ConfigDict

from configs import large


def get_config() -> ConfigDict:
    return large.ffhq(large.get_ve_1024())
