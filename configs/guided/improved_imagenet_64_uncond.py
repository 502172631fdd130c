r"""imagenet64_uncond_100M_1500K.pt of improved-diffusion: ImageNet at 64 pixels, 121 M parameters.

Flags: improved-diffusion's README, and the defaults of its code. `imagenet64_uncond_vlb_100M_1500K.pt`, trained
on the bound itself, is the same network on the same chain.

Command:  python main.py --mode=import --config=configs/guided/improved_imagenet_64_uncond.py \
          --workdir=runs/improved_imagenet_64_uncond --checkpoint=imagenet64_uncond_100M_1500K.pt
Hardware: one GPU samples it.
Expected: 3.53 bits/dim by the variational bound, where that was trained on (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.improved(image_size=64)
    config.data.dataset = "tfds:downsampled_imagenet/64x64"
    config.training.n_iters = 1_500_000
    return config
