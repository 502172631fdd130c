"""VP on scikit-learn's digits: the demo.

Command:  python main.py --mode=train --config=configs/vp/digits.py --workdir=runs/digits
Hardware: two CPU cores; `make demo`, which also samples and evaluates, took 9 min 0 s beside light other work.
Expected: 1.980 +- 0.014 bits/dim on the 297 held-out digits (17 levels); Frechet distance over pixels 0.105
(predictor-corrector), 0.088 (flow) at a floor of 0.088 (measured).
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    return digits.get_config()
