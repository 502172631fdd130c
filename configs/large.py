"""What the recipes at 256 and 1024 pixels share: LSUN, CelebA-HQ and FFHQ.

LSUN and CelebA-HQ are TFDS data sets, prepared once as array_record (with TensorFlow, the extra `prepare`; CelebA-HQ
needs files that TFDS asks for). FFHQ is a folder of images: put it, or a link to it, at data.path. Images are cut to
their central square and resized here.
"""

from ml_collections import ConfigDict

from configs import cifar10


def lsun(config: ConfigDict, category: str) -> ConfigDict:
    """An LSUN category: 'bedroom' or 'church_outdoor'."""
    config.data.dataset = f"tfds:lsun/{category}"
    with config.unlocked():
        config.data.test_split = "validation"
    return config


def celebahq(config: ConfigDict) -> ConfigDict:
    """CelebA-HQ; all of it is for training."""
    config.data.dataset = f"tfds:celeb_a_hq/{config.data.image_size}"
    with config.unlocked():
        config.data.test_split = ""
    return _no_test_set(config)


def ffhq(config: ConfigDict) -> ConfigDict:
    """FFHQ, a folder of images; all of it is for training."""
    config.data.dataset = "folder"
    with config.unlocked():
        del config.data.data_dir, config.data.in_memory
        config.data.path = "data/ffhq"
        config.data.test_fraction = 0.0
    return _no_test_set(config)


def _no_test_set(config: ConfigDict) -> ConfigDict:
    config.training.eval_freq = 0
    config.eval.enable_bpd = False
    return config


def get_ve_256(*, sigma_max: float) -> ConfigDict:
    """NCSN++ with images skipping in and out of every level, 65,574,549 parameters."""
    config = _common(cifar10.get_ve(), image_size=256, batch_size=64)
    with config.unlocked():
        config.model.update(
            ch_mult=(1, 1, 2, 2, 2, 2, 2), num_res_blocks=2, progressive="output_skip", progressive_input="input_skip"
        )
    config.sde.sigma_max = sigma_max
    config.sampling.snr = 0.075
    config.sampling.steps = config.sampling.discretization = 2000
    return config


def get_ve_1024() -> ConfigDict:
    """The same at 1024 pixels, narrower at the top: 105.79 M."""
    config = get_ve_256(sigma_max=1348.0)
    config.model.nf = 16
    config.model.ch_mult = (1, 2, 4, 8, 16, 32, 32, 32)
    config.model.num_res_blocks = 1
    config.model.ema_rate = 0.9999
    config.data.image_size = 1024
    config.training.batch_size = 8
    config.eval.batch_size = 8
    config.sampling.snr = 0.15
    return config


def get_ddpm_256() -> ConfigDict:
    """DDPM at 256 pixels, 111.57 M."""
    config = _common(cifar10.get_ddpm(), image_size=256, batch_size=64)
    config.model.ch_mult = (1, 1, 2, 2, 4, 4)
    config.optim.lr = 2e-5
    return config


def _common(config: ConfigDict, *, image_size: int, batch_size: int) -> ConfigDict:
    config.data.image_size = image_size
    config.data.in_memory = False
    config.model.dropout = 0.0
    config.training.batch_size = batch_size
    config.training.n_iters = 2_400_000
    config.training.n_jitted_steps = 1
    config.training.snapshot_freq_for_preemption = 5000
    config.eval.batch_size = 64
    config.eval.samplers = ("pc",)
    config.eval.enable_bpd = False
    return config
