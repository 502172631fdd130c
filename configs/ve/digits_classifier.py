"""A classifier of digits under VE noise, to guide configs/ve/digits.py.

Command:  python main.py --mode=train --config=configs/ve/digits_classifier.py --workdir=runs/digits_ve_classifier
Hardware: two CPU cores, shared with other work: 170 s of processor time.
Expected: of the 297 held-out digits 100 % without noise, 98.3 % at log SNR 3.4, 89.6 % at 2.2, 41 % at -0.1 (measured).
"""

from ml_collections import ConfigDict

from configs import classifier
from configs.ve import digits


def get_config() -> ConfigDict:
    return classifier.digits(digits.get_config())
