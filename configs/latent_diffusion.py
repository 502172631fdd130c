"""What the published recipes of latent diffusion share (Rombach et al. 2022, arXiv:2112.10752, tables 12 and 18).

Pictures at 256 pixels, the latents of a first stage that was trained before, and a U-Net on them;
1000 levels whose betas are linear in their root, which the public code calls linear. The public code averages with the
warm-up of `model.ema_warmup`, and decays weights by AdamW's default. The numbers are the model zoo's: 50,000 samples
against the training set, with the features of TensorFlow's graph.
"""

from ml_collections import ConfigDict

from configs import default, published


def get_config(*, codec: str, beta_max: float = 19.5, name: str = "guided_unet", **model: object) -> ConfigDict:
    """The recipe on the latents of the autoencoder's run in the folder `codec`; `model`: options of the network."""
    config = default.get_config()
    with config.unlocked():
        chain = {"schedule": "sqrt_linear", "n": 1000, "beta_min": 1.5, "beta_max": beta_max}
        config.sde = ConfigDict({"name": "discrete", **chain})
        config.data.update(image_size=256, num_channels=3, data_dir="", in_memory=False)
        config.model = ConfigDict(config.model.to_dict() | {"name": name} | model)
    config = published.discrete(config)
    config.data.codec = codec
    config.training.snapshot_freq_for_preemption = 5000
    config.optim.update(optimizer="AdamW", weight_decay=0.01, warmup=0, grad_clip=0.0)
    config.eval.update(batch_size=32, enable_bpd=False)
    return config


def vq_f4(codec: str) -> ConfigDict:
    """LDM-4: latents of 64x64x3 of the VQ autoencoder as they are, and a U-Net of 274,056,163 parameters."""
    options = {"nf": 224, "ch_mult": (1, 2, 3, 4), "attn_resolutions": (32, 16, 8), "head_channels": 32}
    config = get_config(codec=codec, num_res_blocks=2, scale_shift=False, attention_order="new", **options)
    config.data.update(latent_scale=1.0, latent_shift=0.0)
    return config


def ddim(config: ConfigDict, evaluations: int, *, eta: float, **numbers: float) -> ConfigDict:
    """Sample as the numbers were reached, by DDIM down to the cleanest level, and record them; the config is locked."""
    config.sampling.update(method="ddim", evaluations=evaluations, grid="ldm", denoise="none", eta=eta)
    config.eval.samplers = ("ddim",)
    config.eval.inception_resize = "tf1"
    with config.unlocked():
        how = f"ddim, {evaluations} evaluations, eta {eta:g}, against the training set"
        config.published = ConfigDict(numbers | {"num_samples": 50_000, "sampler": how})
    return config.lock()
