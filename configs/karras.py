"""What EDM's recipes share (Karras et al. 2022): a VE process of data in [-1, 1], the network inside a preconditioning.

The configs are for the published weights. EDM's own training, noise levels drawn log-normally and images augmented, is
not here yet: --mode=train would minimise this project's loss for the same network. Nor is its sampler, Heun's method on
a grid of its own; the adaptive ODE follows the same flow, and the last step, Tweedie's, is the same.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(*, image_size: int, label_dim: int = 0) -> ConfigDict:
    """DDPM++ (in EDM's words "vp"): the U-Net without filters, positional embedding."""
    config = default.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "ve", "sigma_min": 0.002, "sigma_max": 80.0, "t_min": 1e-5})
        config.data.update(image_size=image_size, num_channels=3)
        config.model = ConfigDict(config.model.to_dict() | {"name": "edm_unet", "preconditioning": "edm"})
        config.model.update(nf=128, num_res_blocks=4, attn_resolutions=(16,), augment_dim=9, label_dim=label_dim)
    config.data.random_flip = True
    config.training.n_iters = 390_625  # 200 M images
    config.training.batch_size = 512
    config.optim.lr = 1e-3
    config.optim.warmup = 19_531  # 10 M images
    config.optim.grad_clip = 0.0
    config.model.ema_rate = 0.99929  # half-life of 0.5 M images
    config.sampling.method = "ode"
    config.sampling.t_min = 1e-5
    config.eval.samplers = ("ode",)
    config.eval.enable_bpd = False
    config.eval.enable_sampling = not label_dim  # which would be without classes
    return config.lock()


def as_ncsnpp(config: ConfigDict) -> ConfigDict:
    """NCSN++ (in EDM's words "ve"): filters, the shrunken image added on the way down, Fourier embedding."""
    with config.unlocked():
        config.model.update(fir=True, progressive_input="residual", embedding_type="fourier")
    return config


def cifar10(*, label_dim: int = 0) -> ConfigDict:
    """CIFAR-10, with its 10 classes or without."""
    config = get_config(image_size=32, label_dim=label_dim)
    config.data.dataset = "tfds:cifar10"
    with config.unlocked():
        config.data.update(data_dir="", in_memory=True)  # "": TFDS's own
        config.model.update(ch_mult=(2, 2, 2), dropout=0.13)
    return config


def faces_64(*, dropout: float) -> ConfigDict:
    """FFHQ, or with another data.path AFHQv2, at 64 pixels; all of it is for training."""
    config = get_config(image_size=64)
    config.data.dataset = "folder"
    config.training.eval_freq = 0
    with config.unlocked():
        config.data.update(path="data/ffhq", test_fraction=0.0)
        config.model.update(ch_mult=(1, 2, 2, 2), dropout=dropout)
    config.training.batch_size = 256
    config.training.n_iters = 781_250
    config.optim.lr = 2e-4
    config.optim.warmup = 39_062
    config.model.ema_rate = 0.999645
    return config


def record(config: ConfigDict, *, fid: float, evaluations: int, sampler: str = "Heun, deterministic") -> ConfigDict:
    """Write what the paper reached, and how it was measured, into ``config.published``."""
    config.eval.inception_resize = "tf1"  # its detector resizes as TensorFlow's graph
    with config.unlocked():
        config.published = ConfigDict(
            {
                "fid": fid,
                "num_samples": 50_000,
                "seeds": "the smallest of three sets of samples",
                "sampler": f"{sampler}, Karras et al.'s grid with rho 7",
                "evaluations": evaluations,
            }
        )
    return config
