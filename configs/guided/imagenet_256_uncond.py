r"""256x256_diffusion_uncond.pt of guided-diffusion: ImageNet at 256 pixels, without classes.

Flags: guided-diffusion's README, and the defaults of its code.

Command:  python main.py --mode=import --config=configs/guided/imagenet_256_uncond.py \
          --workdir=runs/imagenet_256_uncond --checkpoint=256x256_diffusion_uncond.pt
Hardware: one GPU samples it.
Expected: no number was published of it alone.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    return openai.guided(image_size=256)
