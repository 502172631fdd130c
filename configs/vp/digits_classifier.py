"""A classifier of digits under VP noise, to guide configs/vp/digits.py.

Command:  python main.py --mode=train --config=configs/vp/digits_classifier.py --workdir=runs/digits_vp_classifier
"""

from ml_collections import ConfigDict

from configs import classifier
from configs.vp import digits


def get_config() -> ConfigDict:
    return classifier.digits(digits.get_config())
