"""Easy consistency tuning of EDM's model of the digits: one or two evaluations an image.

Command:  python main.py --mode=train --config=configs/edm/digits.py --workdir=runs/digits_edm
          python main.py --mode=train --config=configs/consistency/digits.py --workdir=runs/digits_consistency \\
              --config.training.begin_with=runs/digits_edm
Hardware: two CPU cores.
The network, its process and its scalings are those of the first run, whose averaged weights the second begins with. As
published, images are neither turned nor stretched here.
"""

from ml_collections import ConfigDict

from configs import karras
from configs.edm import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    karras.schedule(config, batch_size=128, images=76_800, lr=5e-4, halflife=10e3)
    config.data.augment = 0.0
    config.training.loss = "easy_consistency"
    config.training.weight = "uniform"
    config.training.P_mean = -1.1
    config.training.P_std = 2.0
    config.training.doubling_steps = 100
    config.training.huber_c = 0.0
    config.training.snapshot_freq = 300
    config.optim.warmup_images = 1_280
    config.optim.decay_steps = 600
    config.sampling.method = "renoise"
    config.sampling.evaluations = 2
    config.sampling.grid = "given"
    config.sampling.grid_noise = (0.821,)
    config.eval.samplers = ("renoise",)
    config.eval.enable_bpd = False
    return config
