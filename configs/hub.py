"""What the configs for diffusers' DDPMs share: Ho et al.'s network, its 1000 noise levels, their published numbers."""

from ml_collections import ConfigDict

from configs import published


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
