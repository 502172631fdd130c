"""What the autoencoders of latent diffusion share (Rombach et al. 2022, arXiv:2112.10752, App. E.1 and G; model zoo).

They were trained on crops of OpenImages at 256 pixels. Published numbers are of ImageNet's validation set: the Frechet
distance of reconstructions to their originals (rFID) and the PSNR in decibel, mean and deviation over the pictures. The
rate is 4.5e-6 times the batch of all GPUs; batches here are those of one of theirs. Weights are not averaged.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(name: str, *, image_size: int = 256, batch_size: int, **model: object) -> ConfigDict:
    """The autoencoder `name` with these options, of pictures in a folder."""
    config = default.get_config()
    with config.unlocked():
        config.data.update(dataset="folder", path="", image_size=image_size, num_channels=3, test_fraction=0.01)
        config.model = ConfigDict(config.model.to_dict() | {"name": name} | model)
    config.model.ema_rate, config.model.ema_warmup = 0.0, False
    config.training.loss = "autoencoder"
    config.training.batch_size = batch_size
    config.optim.update(lr=4.5e-6 * batch_size, beta1=0.5, beta2=0.9, warmup=0, grad_clip=0.0)
    config.eval.update(batch_size=batch_size, enable_bpd=False, enable_sampling=False, samplers=())
    return config


def kl(*, batch_size: int, **model: object) -> ConfigDict:
    """Regularised by the KL divergence of its posterior; the loss has its default options, and LPIPS."""
    config = get_config("autoencoder_kl", batch_size=batch_size, **model)
    config.training.perceptual = "lpips"
    return config


def vq(
    *, batch_size: int, disc_start: int, disc_weight: float = 0.75, disc_layers: int = 3, **model: object
) -> ConfigDict:
    """Regularised by a codebook; diffusion models learn its latents as they are."""
    config = get_config("autoencoder_vq", batch_size=batch_size, scaling_factor=1.0, **model)
    discriminator = {"disc_start": disc_start, "disc_weight": disc_weight, "disc_layers": disc_layers}
    config.training.update(perceptual="lpips", **discriminator)
    return config


def record(
    config: ConfigDict, *, n_iters: int, data: str = "ImageNet, validation, 256 pixels", **numbers: float
) -> ConfigDict:
    """Write what was reached behind so many steps, and on which data, into ``config.published``, and lock the config.

    rfid; psnr and psnr_std, mean and deviation over the pictures; psim and psim_std, of a perceptual distance.
    """
    config.training.n_iters = n_iters
    with config.unlocked():
        config.published = ConfigDict(numbers | {"data": data})
    return config.lock()
