"""What all experiments on scikit-learn's digits share: 8x8, 17 grey levels, a small DDPM++.

Sized for two CPU cores; see configs/vp/digits.py for the command and what it reaches.
"""

from ml_collections import ConfigDict

from configs import default


def as_map(config: ConfigDict, *, loss: str, noise: float) -> ConfigDict:
    """What tunes a diffusion model of the digits to a map: 800 steps, then two evaluations by way of that noise."""
    config.training.loss = loss
    config.training.weight = "uniform"
    config.training.n_iters = 800
    config.training.snapshot_freq = 400
    config.optim.lr = 1e-3
    config.optim.decay_steps = 800
    config.sampling.method = "renoise"
    config.sampling.evaluations = 2
    config.sampling.grid = "given"
    config.sampling.grid_noise = (noise,)
    config.eval.samplers = ("renoise",)
    config.eval.enable_bpd = False  # of the map; that of the diffusion model is one of the flow's
    return config


def get_config() -> ConfigDict:
    config = default.get_config()
    with config.unlocked():
        config.data.image_size = 8
        config.data.num_channels = 1
        config.model.update(
            nf=32,
            ch_mult=(1, 2),
            num_res_blocks=1,
            attn_resolutions=(4,),
            dropout=0.1,
            embedding_type="positional",
        )
    config.data.uniform_dequantization = True
    config.model.ema_rate = 0.998
    config.training.n_iters = 1200
    config.training.stratified = True
    config.training.eval_freq = 300
    config.training.snapshot_freq = 600
    config.training.snapshot_freq_for_preemption = 200
    config.optim.lr = 2e-3
    config.optim.warmup = 100
    config.optim.decay_steps = 1200
    config.sampling.predictor = "reverse_diffusion"
    config.sampling.corrector = "langevin"
    config.sampling.snr = 0.1
    config.sampling.steps = 100
    config.sampling.flow_steps = 50
    config.sampling.rtol = config.sampling.atol = 1e-3
    config.eval.rtol = config.eval.atol = 1e-4
    config.eval.num_samples = 750
    config.eval.batch_size = 375
    config.eval.samplers = ("euler_maruyama", "pc", "flow_heun", "ode")
    return config
