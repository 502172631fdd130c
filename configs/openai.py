"""What OpenAI's recipes share: improved- and guided-diffusion (arXiv:2102.09672, arXiv:2105.05233), GLIDE (2112.10741).

The options are the flags in the two README files, defaults from their code; batch, rate and length of training those of
the papers' appendices. The published weights are averaged ones. Sampling is the papers': 250 steps of the chain,
ancestral with the learned variance, the denoised image clipped.
"""

from ml_collections import ConfigDict

from configs import default, published


def get_config(*, image_size: int, schedule: str, num_scales: int, **model: object) -> ConfigDict:
    """A network that learns its variance, on a chain of num_scales steps; `model`: options of guided_unet."""
    config = default.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "discrete", "schedule": schedule, "n": num_scales})
        config.data.update(image_size=image_size, num_channels=3, data_dir="", test_split="validation")
        config.model = ConfigDict(config.model.to_dict() | {"name": "guided_unet", "learned_variance": True} | model)
    config = published.discrete(config, num_scales)
    config.model.ema_warmup = False
    if model.get("label_dim"):
        config.training.label_dropout = 0.0
    config.data.random_flip = True
    config.training.snapshot_freq_for_preemption = 5000
    config.optim.lr = 1e-4
    config.optim.warmup = 0
    config.optim.grad_clip = 0.0
    config.eval.batch_size = 64
    config.sampling.update(method="ancestral", variance="learned_range", grid="respaced", steps=249, discretization=0)
    config.sampling.threshold = "clip"
    config.eval.samplers = ("ancestral",)
    config.eval.enable_bpd = False
    return config.lock()


def guided(*, image_size: int, schedule: str = "linear", **model: object) -> ConfigDict:
    """guided-diffusion on ImageNet: 1000 steps, blocks that resample, attention at three sizes, 64 channels a head."""
    options = {"nf": 256, "num_res_blocks": 2, "attn_resolutions": (32, 16, 8), "head_channels": 64}
    options |= {"resblock_updown": True, "ch_mult": (1, 1, 2, 2, 4, 4)}
    config = get_config(image_size=image_size, schedule=schedule, num_scales=1000, **options | model)
    config.data.dataset = "tfds:imagenet_resized/64x64" if image_size == 64 else "tfds:imagenet2012"
    config.training.batch_size = 256
    return config


def lsun(config: ConfigDict, category: str) -> ConfigDict:
    """An LSUN category; 'cat' and 'horse' have no test set."""
    config.data.dataset = f"tfds:lsun/{category}"
    if category != "bedroom":
        config.data.test_split = ""
        config.training.eval_freq = 0
    return config


def improved(*, image_size: int, schedule: str = "cosine", num_scales: int = 4000, **model: object) -> ConfigDict:
    """improved-diffusion: 4000 steps, the network told 1000 / 4000 of the index, four heads."""
    options = {"nf": 128, "num_res_blocks": 3, "attn_resolutions": (16, 8), "num_heads": 4, "ch_mult": (1, 2, 3, 4)}
    config = get_config(image_size=image_size, schedule=schedule, num_scales=num_scales, **options | model)
    config.model.noise_label = "index_1000"
    config.training.batch_size = 128
    return config


def glide(*, image_size: int, schedule: str, guidance: float = 1.0, **model: object) -> ConfigDict:
    """GLIDE (filtered), the networks of the published files: a folder of pictures with texts, 1000 steps.

    Batch, length and the share of empty texts are those of the paper's sections 4.1 and 4.2, of its 3.5 B network;
    those of the published small one are not known. `guidance`: of what is drawn with a text.
    """
    options = {"name": "glide", "tokens": 128, "dropout": 0.1}
    config = get_config(image_size=image_size, schedule=schedule, num_scales=1000, **options | model)
    config.data.dataset, config.data.random_flip = "folder", False  # a mirrored picture may not be what its text says
    with config.unlocked():
        del config.data.data_dir, config.data.test_split
        config.data.path = "data/captioned"
    config.training.update(batch_size=2048, n_iters=2_500_000, label_dropout=0.2)
    config.sampling.guidance = guidance
    return config


def clip(*, image_size: int, schedule: str) -> ConfigDict:
    """GLIDE's CLIP of noisy images, both towers, told the index of the level.

    Batch and length of its training are not known; a batch of 2048 is that of the model that it guides.
    """
    config = glide(image_size=image_size, schedule=schedule)
    image = {"patch_size": 4, "image_width": 768, "image_layers": 12, "image_heads": 12, "projection_dim": 512}
    text = {"tokens": 77, "vocabulary": 65536, "text_width": 512, "text_layers": 12, "text_heads": 8}
    told = {"noise_label": "index", "num_scales": 1000}
    default.with_network(config, "clip", **image, **text, **told, activation="gelu", key_bias=False)
    config.training.loss = "contrastive"
    config.sampling.variance = "small"
    config.eval.update(enable_sampling=False, samplers=())
    return config


def upsampled(config: ConfigDict, method: str) -> ConfigDict:
    """How GLIDE's upsampler is published to sample: 27 levels by that method, of noise a little smaller, unguided."""
    config.training.update(batch_size=512, n_iters=1_600_000, label_dropout=0.0)
    config.sampling.update(method=method, grid="fast27", steps=26, evaluations=27, prior_scale=0.997)
    config.eval.samplers = (method,)
    return config


def record(config: ConfigDict, *, sampler: str = "learned variance, 250 of 1000 steps", **numbers: float) -> ConfigDict:
    """Write what was reached, and how it was measured, into ``config.published``."""
    config.eval.inception_resize = "tf1"
    with config.unlocked():
        config.published = ConfigDict(numbers | {"num_samples": 50_000, "sampler": sampler})
    return config
