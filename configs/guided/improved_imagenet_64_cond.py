r"""imagenet64_cond_270M_250K.pt of improved-diffusion: ImageNet at 64 pixels by class, 273 M parameters.

Flags: improved-diffusion's README, and the defaults of its code; the index as it is (rescale_timesteps False).

Command:  python main.py --mode=import --config=configs/guided/improved_imagenet_64_cond.py \
          --workdir=runs/improved_imagenet_64_cond --checkpoint=imagenet64_cond_270M_250K.pt
Hardware: one GPU samples it.
Expected: no number was published of this file alone.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.improved(image_size=64, nf=192, label_dim=1000)
    config.model.noise_label = "index"
    config.data.dataset = "tfds:imagenet_resized/64x64"
    config.training.batch_size = 2048
    config.training.n_iters = 250_000
    config.optim.lr = 3e-4
    return config
