"""VP on eight Gaussians in the plane.

Command:  python main.py --mode=train --config=configs/vp/toy_mixture8_mlp.py --workdir=runs/mixture8
"""

from ml_collections import ConfigDict

from configs import toy


def get_config() -> ConfigDict:
    config = toy.get_config()
    config.data.dataset = "toy_mixture8"
    return config
