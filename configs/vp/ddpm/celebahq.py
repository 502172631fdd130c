"""DDPM on CelebA-HQ at 256 pixels, 1000 noise levels, 111.57 M parameters.

Command:  python main.py --mode=train --config=configs/vp/ddpm/celebahq.py --workdir=runs/vp_ddpm_celebahq
Hardware: eight GPUs or a TPU slice; batches of 64.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import large, published


def get_config() -> ConfigDict:
    return published.discrete(large.celebahq(large.get_ddpm_256()))
