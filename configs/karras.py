"""What EDM's recipes share (Karras et al. 2022): a process whose time is sigma, the network inside a preconditioning.

Training is that of the paper's App. F and of its code: noise levels drawn log-normally, every level's output error
counted alike, images augmented and the network told how. The mirror images are part of that augmentation, so the data
set itself is not flipped. Published training adds up the squares over an image's d numbers where this averages them:
Adam's steps are the same with eps / d. Beyond that, images are drawn here without replacement in every epoch too, and
what the augmentation reflects at the borders does not depend on the batch (data/geometry.py).

Images are drawn by Heun's method on the paper's grid, ending in a step to data, in the published number of evaluations.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(*, image_size: int, label_dim: int = 0) -> ConfigDict:
    """DDPM++ (in EDM's words "vp"): the U-Net without filters, positional embedding."""
    config = as_edm(default.get_config())
    with config.unlocked():
        config.data.update(image_size=image_size, num_channels=3)
        config.model.name = "edm_unet"
        config.model.update(nf=128, num_res_blocks=4, attn_resolutions=(16,), augment_dim=9, label_dim=label_dim)
    if label_dim:
        config.training.label_dropout = 0.0
    config.data.augment = 0.12
    config.optim.eps = 1e-8 / (3 * image_size**2)
    config.optim.warmup_images = 10e6
    config.optim.grad_clip = 0.0
    schedule(config, batch_size=512, images=200e6, lr=1e-3)
    config.eval.samplers = ("heun",)
    config.eval.enable_bpd = False
    return config.lock()


def as_edm(config: ConfigDict) -> ConfigDict:
    """EDM's process, preconditioning, noise levels and weight, and gradients mended as its training does."""
    with config.unlocked():
        config.sde = ConfigDict({"name": "edm", "sigma_min": 0.002, "sigma_max": 80.0})
    config.model.preconditioning = "edm"
    config.training.time_sampling = "lognormal"
    config.training.weight = "edm"
    config.training.nan_to_num = True
    config.sampling.t_min = 0.002 / 80.0
    config.sampling.method = "heun"
    config.sampling.grid = "karras"
    config.sampling.evaluations = 35
    return config


def schedule(config: ConfigDict, *, batch_size: int, images: float, lr: float, halflife: float = 500e3) -> ConfigDict:
    """Set the batch and what is counted in images: how many are seen, and over how many the weights are averaged."""
    config.training.batch_size = batch_size
    config.training.n_iters = int(-(-images // batch_size))
    config.optim.lr = lr
    config.model.ema_halflife_images = halflife
    config.model.ema_rate = 0.5 ** (batch_size / halflife)  # what the half-life comes to, for reports
    return config


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
    config.data.augment = 0.15
    return schedule(config, batch_size=256, images=200e6, lr=2e-4)


def record(config: ConfigDict, *, fid: float, evaluations: int, sampler: str = "Heun, deterministic") -> ConfigDict:
    """Write what the paper reached, and how it was measured, into ``config.published``."""
    config.eval.inception_resize = "tf1"  # its detector resizes as TensorFlow's graph
    config.sampling.evaluations = evaluations
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
