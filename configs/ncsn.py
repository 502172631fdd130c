"""What the NCSN and NCSNv2 recipes share: a RefineNet trained by SMLD, sampled by annealed Langevin dynamics alone.

h = 2 (snr sigma)^2 is the step of one Langevin iteration. In the papers' terms it is epsilon (sigma / sigma_min)^2, so
that snr = sqrt(epsilon / 2) / sigma_min: 6.2e-6 is 0.176. The numbered variants of NCSN add techniques of the NCSNv2
paper: 1 and 2 (largest and number of noise levels), 4 (Langevin steps chosen for them), 5 (EMA).
"""

from ml_collections import ConfigDict

from configs import default, published


def ncsn(config: ConfigDict, *, num_scales: int, snr: float, n_steps_each: int, ema: bool) -> ConfigDict:
    """NCSN, class-conditional: a row of each norm for each noise level, the score itself as output."""
    config.model = default.get_config().model  # without the options of another network
    with config.unlocked():
        config.model.update(name="ncsn", nf=128, normalization="instance++", nonlinearity="elu")
    config.model.prediction = "score"
    config.model.ema_rate = 0.999 if ema else 0.0
    published.discrete(config, num_scales)
    config.optim.lr = 1e-3
    config.optim.warmup = 0
    config.optim.grad_clip = -1.0
    config.sampling.predictor = "none"
    config.sampling.corrector = "ald"
    config.sampling.snr = snr
    config.sampling.n_steps_each = n_steps_each
    config.sampling.grid = "levels"
    config.sampling.denoise = "none"
    return config


def original(config: ConfigDict, *, ema: bool = False) -> ConfigDict:
    """NCSN as first published: ten noise levels from sigma 1, a hundred Langevin steps at each."""
    config.sde.sigma_max = 1.0
    return ncsn(config, num_scales=10, snr=0.316, n_steps_each=100, ema=ema)


def ncsnv2(config: ConfigDict, *, num_scales: int, snr: float, n_steps_each: int, network: str) -> ConfigDict:
    """NCSNv2, which sees the noise only where it divides by sigma; a last step of denoising, as in the paper."""
    ncsn(config, num_scales=num_scales, snr=snr, n_steps_each=n_steps_each, ema=True)
    config.model.name = network
    with config.unlocked():
        config.model.scale_by_sigma = True
    config.optim.lr = 1e-4
    config.sampling.denoise = "tweedie"
    return config
