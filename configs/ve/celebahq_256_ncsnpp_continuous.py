r"""NCSN++ with the VE SDE on CelebA-HQ at 256 pixels, 65.57 M parameters.

Command:  python main.py --mode=train --config=configs/ve/celebahq_256_ncsnpp_continuous.py \
          --workdir=runs/ve_celebahq_256_ncsnpp_continuous
Hardware: eight GPUs or a TPU slice; batches of 64.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import large


def get_config() -> ConfigDict:
    return large.celebahq(large.get_ve_256(sigma_max=348.0))
