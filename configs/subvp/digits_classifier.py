"""A classifier of digits under sub-VP noise, to guide configs/subvp/digits.py.

Command:  python main.py --mode=train --config=configs/subvp/digits_classifier.py --workdir=runs/digits_subvp_classifier
"""

from ml_collections import ConfigDict

from configs import classifier
from configs.subvp import digits


def get_config() -> ConfigDict:
    return classifier.digits(digits.get_config())
