"""A classifier of digits under VE noise, to guide configs/ve/digits.py.

Command:  python main.py --mode=train --config=configs/ve/digits_classifier.py --workdir=runs/digits_ve_classifier
"""

from ml_collections import ConfigDict

from configs import classifier
from configs.ve import digits


def get_config() -> ConfigDict:
    return classifier.digits(digits.get_config())
