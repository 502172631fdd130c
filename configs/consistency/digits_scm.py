"""Continuous-time consistency on scikit-learn's digits, with the network of configs/vp/digits.py.

The network begins as a diffusion model, which is also the teacher; the map follows its flow, and is sampled in two
evaluations as published (from sigma 80, by way of an angle of 1.1).

Commands: python main.py --mode=train --config=configs/consistency/digits_scm.py --workdir=runs/digits_trigflow \
            --config.training.loss=simple --config.training.weight=edm --config.training.tangent_warmup=10000
          python main.py --mode=train --config=configs/consistency/digits_scm.py --workdir=runs/digits_scm \
            --config.training.begin_with=runs/digits_trigflow --config.training.teacher=runs/digits_trigflow
Hardware: two CPU cores.
Expected: not measured yet; 100 steps of it from data, without a teacher, have gradients of norm 0.9 to 2.9.
"""

from ml_collections import ConfigDict

from configs import digits, karras


def get_config() -> ConfigDict:
    config = karras.as_edm(digits.get_config())
    config.model.preconditioning = "trigflow"
    config.model.dropout = 0.0
    config.training.loss = "continuous_consistency"
    config.training.weight = "uniform"
    config.training.P_mean = -1.0
    config.training.P_std = 1.4
    config.training.tangent_warmup = 300
    config.optim.lr = 1e-3
    config.sampling.method = "renoise"
    config.sampling.grid = "given"
    config.sampling.grid_noise = (0.982,)
    config.sampling.evaluations = 2
    config.eval.samplers = ("renoise",)
    config.eval.enable_bpd = False  # of the map; that of the diffusion model is one of the flow's
    return config
