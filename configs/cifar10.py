"""What the published CIFAR-10 recipes share (Song et al. 2021, App. H); `make data-cifar10` prepares the data."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """DDPM++: the U-Net without filters, positional labels, data in [-1, 1], Euler-Maruyama."""
    config = default.get_config()
    config.data.dataset = "tfds:cifar10"
    with config.unlocked():
        config.data.image_size = 32
        config.data.num_channels = 3
        config.data.data_dir = ""  # TFDS's own: TFDS_DATA_DIR, or ~/tensorflow_datasets
        config.data.in_memory = True
        config.model.update(nf=128, ch_mult=(1, 2, 2, 2), num_res_blocks=4, attn_resolutions=(16,), dropout=0.1)
    config.data.random_flip = True
    config.training.n_iters = 1_300_000  # published 1,300,001, whose last step belongs to the next call of five
    config.training.n_jitted_steps = 5
    config.eval.batch_size = 1024
    config.sampling.denoise = "mean"
    config.sampling.discretization = 1000
    config.sampling.grid = "published"
    return config


def get_ncsnpp() -> ConfigDict:
    """NCSN++ for vp and subvp: DDPM++ with filters and the shrunken image added on the way down."""
    config = get_config()
    with config.unlocked():
        config.model.update(fir=True, progressive_input="residual")
    return config


def get_ddpm() -> ConfigDict:
    """The U-Net of DDPM: 35,218,947 parameters."""
    config = get_config()
    config.model.name = "ddpm"
    config.model.num_res_blocks = 2
    return config


def get_ve() -> ConfigDict:
    """NCSN++ with VE: filters, the shrunken image added on the way down, data in [0, 1], the score predicted."""
    config = get_config()
    with config.unlocked():
        config.model.update(
            fir=True, progressive_input="residual", embedding_type="fourier", fourier_scale=16.0, scale_by_sigma=True
        )
    return as_ve(config, sigma_max=50.0)


def as_ve(config: ConfigDict, *, sigma_max: float, snr: float = 0.16) -> ConfigDict:
    """What all published VE recipes share, whatever the network: data in [0, 1], reverse diffusion and Langevin."""
    with config.unlocked():
        config.sde = ConfigDict({"name": "ve", "sigma_min": 0.01, "sigma_max": sigma_max, "t_min": 1e-5})
    config.model.prediction = "score"
    config.model.noise_label = "sigma"
    config.model.ema_rate = 0.999
    config.data.centered = False
    config.training.reduce_mean = False
    config.sampling.predictor = "reverse_diffusion"
    config.sampling.corrector = "langevin"
    config.sampling.corrector_norm = "batch"
    config.sampling.snr = snr
    config.sampling.t_min = 1e-5
    return config
