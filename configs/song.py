"""What the configs of consistency models share (Song et al. 2023, arXiv:2303.01469): EDM's process, and a map along it.

Networks are those of the flags in the public launch scripts (openai/consistency_models and its CIFAR-10 code), defaults
from those codes. Optimiser, batch, rate, length and schedules of training are those of the paper's table 3 and of the
scripts, but for LPIPS, in whose place stands the squared distance: it is worse, as the paper shows. The configs of
losses in continuous time, and of easy consistency tuning, are to import alone.

A sample is one evaluation at sigma 80. Published samples of more evaluations go back into noise in between, to times
that were searched for each model (Algorithm 1): where the scripts say which, the config of the model tells how to ask
for two. The public sampler cuts every output off at the range of the images, as `sampling.threshold` "clip" does.
"""

from ml_collections import ConfigDict

from configs import default, karras, openai


def get_config(*, image_size: int, **model: object) -> ConfigDict:
    """A teacher: EDM's training of the network with these options."""
    config = karras.as_edm(default.get_config())
    with config.unlocked():
        config.data.update(image_size=image_size, num_channels=3, data_dir="", test_split="validation")
        config.model.update(model)
    if model.get("label_dim"):
        config.training.label_dropout = 0.0
    config.data.random_flip = True
    config.optim.warmup = 0
    config.optim.grad_clip = 0.0
    config.sampling.threshold = "clip"
    config.sampling.evaluations = 79
    config.eval.samplers = ("heun",)
    config.eval.enable_bpd = False
    return config.lock()


def guided_unet(*, image_size: int, **model: object) -> ConfigDict:
    """Guided diffusion's network without a variance, told 250 log(sigma), its attention with the queries first."""
    options = {"name": "guided_unet", "time_scale": 1000.0, "attention_order": "new", "head_channels": 64}
    options |= {"attn_resolutions": (32, 16, 8), "resblock_updown": True}
    return get_config(image_size=image_size, **options | model)


def imagenet_64() -> ConfigDict:
    """ADM on ImageNet at 64 pixels, class-conditional."""
    config = guided_unet(image_size=64, nf=192, ch_mult=(1, 2, 3, 4), num_res_blocks=3, dropout=0.1, label_dim=1000)
    config.data.dataset = "tfds:imagenet_resized/64x64"
    return karras.schedule(config, batch_size=4096, images=2500e6, lr=1e-4, halflife=50e6)


def lsun_256(category: str, *, n_iters: int) -> ConfigDict:
    """ADM on an LSUN category at 256 pixels; the noise is added, it does not scale."""
    options = {"nf": 256, "ch_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2, "dropout": 0.1, "scale_shift": False}
    config = openai.lsun(guided_unet(image_size=256, **options), category)
    return karras.schedule(config, batch_size=2048, images=2048 * n_iters, lr=1e-4, halflife=50e6)


def cifar10() -> ConfigDict:
    """NCSN++ on CIFAR-10, without classes."""
    config = karras.as_ncsnpp(get_config(image_size=32, name="edm_unet", ch_mult=(2, 2, 2), dropout=0.13))
    config.data.dataset = "tfds:cifar10"
    with config.unlocked():
        del config.data.test_split
        config.data.in_memory = True
    config.optim.warmup_images = 10e6
    config.sampling.threshold = "none"
    config.sampling.evaluations = 35
    return karras.schedule(config, batch_size=512, images=512 * 400_000, lr=1e-3)


def as_map(config: ConfigDict, *, batch_size: int, n_iters: int, lr: float, ema_rate: float) -> ConfigDict:
    """The consistency model of a teacher's network: sampled by one evaluation, which leads to sigma 0.002."""
    config.model.preconditioning = "consistency"
    config.model.dropout = 0.0
    config.model.ema_halflife_images = 0.0
    config.model.ema_warmup = False
    config.model.ema_rate = ema_rate
    config.training.batch_size = batch_size
    config.training.n_iters = n_iters
    config.optim.update(optimizer="RAdam", lr=lr, warmup_images=0.0)
    config.sampling.update(method="renoise", grid="karras", evaluations=1, denoise="none")
    config.eval.samplers = ("renoise",)
    return config


def distilled(config: ConfigDict, *, points: int, target_ema: float, norm: str = "l2") -> ConfigDict:
    """Consistency distillation on a grid of so many points; ``training.teacher`` and ``begin_with`` are the teacher."""
    config.training.update(loss="consistency", time_sampling="uniform", weight="uniform", loss_norm=norm)
    config.training.update(scale_mode="fixed", start_scales=points, target_ema_mode="fixed", start_ema=target_ema)
    return config


def from_data(config: ConfigDict, *, end_scales: int, start_ema: float) -> ConfigDict:
    """Consistency training, whose grid grows from 2 points."""
    config.training.update(loss="consistency", time_sampling="uniform", weight="uniform")
    config.training.update(end_scales=end_scales, start_ema=start_ema)
    return config


def record(config: ConfigDict, *, source: str = "arXiv:2303.01469", **numbers: float) -> ConfigDict:
    """Write what the paper's tables say into ``config.published``; numbers of two evaluations end in _2."""
    config.eval.inception_resize = "tf1"
    with config.unlocked():
        config.published = ConfigDict(
            numbers | {"num_samples": 50_000, "evaluations": config.sampling.evaluations, "source": source}
        )
    return config
