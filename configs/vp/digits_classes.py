"""VP on scikit-learn's digits, told which digit: classes and classifier-free guidance.

Command:  python main.py --mode=train --config=configs/vp/digits_classes.py --workdir=runs/digits_classes
          python main.py --mode=sample --config=configs/vp/digits_classes.py --workdir=runs/digits_classes \
            --config.sampling.label=3 --config.sampling.guidance=2
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    with config.unlocked():
        config.model.label_dim = 10
    config.sampling.method = "dpmpp_2m"
    config.sampling.grid = "log_snr"
    config.sampling.evaluations = 20
    config.eval.samplers = ("dpmpp_2m",)
    return config
