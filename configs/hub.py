"""What the configs for diffusers' models share: those of a folder, and Ho et al.'s published ones."""

from ml_collections import ConfigDict

from checkpoints.diffusers_scheduler import Scheduler
from configs import default, published


def of_folder(name: str, options: dict, scheduler: Scheduler, **pictures: object) -> ConfigDict:
    """The config of a folder's network of that name and its scheduler, for `pictures` of a size and channels."""
    centered, options = options["centered"], {key: value for key, value in options.items() if key != "centered"}
    config = default.get_config()
    with config.unlocked():
        config.sde = ConfigDict(scheduler.sde)
        config.data.update(dataset="folder", path="", test_fraction=0.0, centered=centered, **pictures)
        config.model.update(name=name, prediction=scheduler.prediction, **options)
        if scheduler.is_chain:
            config.model.update(noise_label="index", num_scales=scheduler.num_levels)
        else:
            config.model.noise_label = "sigma"
    config.training.continuous = not scheduler.is_chain
    if scheduler.prediction == "v":
        config.training.weight = "snr_plus_1"  # the plain error of v
    config.training.eval_freq = 0
    config.sampling.update(scheduler.sampling, scheduler_config=scheduler.text)
    config.eval.batch_size = 64
    config.eval.samplers = (config.sampling.method,)
    config.eval.enable_bpd = False
    return config


def of_latents(
    name: str, options: dict, scheduler: Scheduler, autoencoder: dict, *, where: tuple[object, object]
) -> ConfigDict:
    """The config of a pipeline's network on latents, of its scheduler and of its autoencoder's options.

    The autoencoder, and what reads texts for a network that is told them, are those of the pipeline, which the import
    makes (`experiment.importing`): their fields are empty. `where` network and autoencoder lie is for the message.

    Raises:
      ValueError: the two have other numbers of channels.
    """
    channels, latents = options["num_channels"], autoencoder["embed_dim"]
    if channels != latents:
        raise ValueError(f"{where[0]}: the network takes {channels} channels, and {where[1]} has latents of {latents}")
    options = {"centered": True} | {option: value for option, value in options.items() if option != "num_channels"}
    size = options.pop("image_size")
    factor = 2 ** (len(autoencoder["ch_mult"] or autoencoder["channels"]) - 1)
    pictures = size * factor if isinstance(size, int) else tuple(factor * side for side in size)
    config = of_folder(name, options, scheduler, image_size=pictures, num_channels=autoencoder["num_channels"])
    config.data.codec = ""
    config.sampling.threshold = "none"  # latents have no range
    return config


def ddpm(config: ConfigDict, **numbers: float) -> ConfigDict:
    """Attention behind each block on the way up; the rest is a DDPM config's, made discrete here.

    The process is the chain itself, so that few-step samplers meet its own levels: DDIM as in diffusers.
    """
    config = published.discrete(config)
    with config.unlocked():
        config.sde = ConfigDict({"name": "discrete", "schedule": "linear", "n": 1000})
        config.model.attend_each_block = True
        if numbers:
            config.eval.inception_resize = "tf1"  # Ho et al. measured with TensorFlow's graph
            config.published = ConfigDict(numbers)
            config.published.update(num_samples=50_000, sampler="ancestral, 1000 steps, against the training set")
    return config
