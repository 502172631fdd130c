"""VP on scikit-learn's digits: the demo.

Command:  python main.py --mode=train --config=configs/vp/digits.py --workdir=runs/digits
Hardware: two CPU cores; `make demo`, which also samples and evaluates, took 10 min 17 s (other work at idle priority).
Expected: 1.975 +- 0.014 bits/dim on the 297 held-out digits (17 levels); Frechet distance over pixels 0.091
(predictor-corrector), 0.093 (flow) at a floor of 0.088 (measured).
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    return digits.get_config()
