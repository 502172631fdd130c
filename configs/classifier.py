"""What the recipes of noise-conditional classifiers share (Dhariwal and Nichol 2021, arXiv:2105.05233, App. H).

A classifier takes the process and the data of the run that it is to guide (`sampling.guide`). Told the noise by its
log SNR, and shown x at one size at every level, it is the same function of the data on every process, so that one
trained on VP could guide a VE model of data of the same range.
"""

from ml_collections import ConfigDict


def of(config: ConfigDict, *, label_dim: int, **options: object) -> ConfigDict:
    """The classifier for a recipe's process and data: cross-entropy at t uniform, AdamW with weight decay."""
    kept = {name: config.model[name] for name in ("prediction", "preconditioning", "ema_warmup", "ema_rampup")}
    kept |= {name: config.model[name] for name in ("ema_rate", "ema_halflife_images")}
    with config.unlocked():
        config.model = ConfigDict({"name": "noisy_classifier", "noise_label": "log_snr", **kept})
        config.model.update(label_dim=label_dim, **options)
    config.training.loss = "cross_entropy"
    config.optim.optimizer = "AdamW"
    config.optim.weight_decay = 0.05
    config.eval.enable_bpd = False
    config.eval.enable_sampling = False
    config.published = ConfigDict()
    return config


def digits(config: ConfigDict) -> ConfigDict:
    """Small enough for two CPU cores; the recipe's own rate, batch and average, two thirds of its steps."""
    config = of(
        config,
        label_dim=10,
        nf=32,
        ch_mult=(1, 2),
        num_res_blocks=1,
        attn_resolutions=(4,),
        head_channels=32,
        dropout=0.1,
    )
    config.training.n_iters = config.optim.decay_steps = 800
    config.training.eval_freq = 200
    config.training.snapshot_freq = 400
    return config.lock()


def cifar10(config: ConfigDict) -> ConfigDict:
    """The published classifier's size and schedule for ImageNet at 64 pixels (classifier_depth 2), on CIFAR-10."""
    config = of(config, label_dim=10, nf=128, ch_mult=(1, 2, 2, 2), num_res_blocks=2, attn_resolutions=(16, 8))
    config.training.batch_size = 256
    config.training.n_iters = 100_000
    config.optim.lr = 3e-4
    config.optim.decay_steps = 100_000
    return config.lock()
