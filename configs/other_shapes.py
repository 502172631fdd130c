"""What the experiments on other shapes than images share: VP, the prediction v, a few-step sampler; minutes on a CPU.

See configs/shapes/ for the commands and what they reach.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.prediction = "v"
    config.model.ema_rate = 0.998
    config.data.uniform_dequantization = True  # of grey levels; floats are taken as they are
    config.training.batch_size = 64
    config.training.n_iters = 4000
    config.training.stratified = True
    config.training.eval_freq = 1000
    config.training.snapshot_freq = 2000
    config.training.snapshot_freq_for_preemption = 250
    config.optim.lr = 1e-3
    config.optim.warmup = 100
    config.optim.decay_steps = 4000
    config.sampling.update(method="dpmpp_2m", evaluations=20, grid="log_snr", t_min=1e-3)
    config.sampling.rtol = config.sampling.atol = 1e-3
    config.eval.rtol = config.eval.atol = 1e-4
    config.eval.batch_size = 100
    config.eval.num_samples = 500
    config.eval.samplers = ("dpmpp_2m", "euler_maruyama")
    config.eval.bpd_max_examples = 100
    config.eval.compare = ("ddim/log_snr", "dpmpp_2m/log_snr", "unipc_3/log_snr")
    config.eval.compare_evaluations = (5, 10, 20)
    config.sampling.steps = 200
    config.eval.compare_reference_evaluations = 201
    return config
