"""DDPM on LSUN church at 256 pixels, 1000 noise levels, 111.57 M parameters.

Command:  python main.py --mode=train --config=configs/vp/ddpm/church.py --workdir=runs/vp_ddpm_church
Hardware: eight GPUs or a TPU slice; batches of 64.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import large, published


def get_config() -> ConfigDict:
    return published.discrete(large.lsun(large.get_ddpm_256(), "church_outdoor"))
