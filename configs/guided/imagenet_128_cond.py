r"""128x128_diffusion.pt of guided-diffusion: ImageNet at 128 pixels, class-conditional, 422 M parameters.

Flags: guided-diffusion's README, and the defaults of its code; this one has four heads at every width.

Command:  python main.py --mode=import --config=configs/guided/imagenet_128_cond.py \
          --workdir=runs/imagenet_128_cond --checkpoint=128x128_diffusion.pt
Hardware: one GPU samples it.
Expected: FID 2.97, precision 0.78, recall 0.59 with their classifier's guidance of scale 0.5 (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.guided(image_size=128, ch_mult=(1, 1, 2, 3, 4), num_heads=4, head_channels=None, label_dim=1000)
    config.training.n_iters = 4_360_000
    return openai.record(config, fid=2.97, precision=0.78, recall=0.59, classifier_scale=0.5)
