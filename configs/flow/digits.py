"""Flow matching on scikit-learn's digits: the linear flow, whose velocity the network of configs/vp/digits.py predicts.

Command:  python main.py --mode=train --config=configs/flow/digits.py --workdir=runs/digits_flow
Hardware: two CPU cores.
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    config.sde = ConfigDict({"name": "flow", "t_min": 1e-3})
    config.model.prediction = "velocity"
    config.training.loss = "flow_matching"
    config.training.time_sampling = "logit_normal"
    config.sampling.predictor = "ancestral"
    config.eval.samplers = ("interpolant_euler", "flow_heun", "dpmpp_2m", "ode")
    return config
