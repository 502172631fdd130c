"""Sub-VP on digits, otherwise as configs/vp/digits.py.

Command:  python main.py --mode=train --config=configs/subvp/digits.py --workdir=runs/digits_subvp
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    config.sde.name = "subvp"
    return config
