"""What the experiments on 2-D points share: a small MLP; minutes on a CPU."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    with config.unlocked():
        config.model.update(name="mlp", width=128, depth=3)
    config.model.ema_rate = 0.999
    config.data.centered = False
    config.training.batch_size = 512
    config.training.n_iters = 5000
    config.training.stratified = True
    config.training.log_freq = 100
    config.training.snapshot_freq = 5000
    config.training.snapshot_freq_for_preemption = 1000
    config.optim.lr = 2e-3
    config.optim.warmup = 100
    config.optim.decay_steps = 5000
    config.sampling.steps = 200
    config.eval.num_samples = 5000
    config.eval.batch_size = 1000
    config.eval.samplers = ("euler_maruyama", "flow_heun", "ode")
    config.eval.bpd_probe = "exact"
    config.eval.bpd_max_examples = 2000
    return config
