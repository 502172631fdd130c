"""The digits as 17 ordered categories: D3PM with the discretised Gaussian, its hybrid loss (Austin et al. 2021).

Commands: python main.py --mode=train --config=configs/categorical/digits_d3pm.py --workdir=runs/digits_d3pm
          python main.py --mode=evaluate --workdir=runs/digits_d3pm
Hardware: two CPU cores, 19 minutes beside other work.
Expected: 1.705 +- 0.016 bits/dim on the 297 held-out digits, every one of the 200 levels counted; Frechet distance over
          pixels 0.0873 (200 steps), which is 0.99 times its floor.
"""

from ml_collections import ConfigDict

from configs.categorical import digits_masked


def get_config() -> ConfigDict:
    config = digits_masked.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "d3pm", "kernel": "gaussian", "n": 200, "beta_min": 1e-3, "beta_max": 0.1})
    config.model.head = "logistic"
    config.model.reading = "evidence"  # D3PM's product of what x says and what the network does
    config.training.cross_entropy_weight = 0.001
    config.sampling.method = "categorical_ancestral"
    config.sampling.steps = 200
    config.eval.vlb_times = 200
    config.eval.samplers = ("categorical_ancestral",)
    config.eval.compare = ("categorical_ancestral",)
    config.eval.compare_evaluations = (5, 10, 20, 50)
    config.eval.compare_reference, config.eval.compare_reference_evaluations = "categorical_ancestral", 200
    return config
