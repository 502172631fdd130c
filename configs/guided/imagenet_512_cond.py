r"""512x512_diffusion.pt of guided-diffusion: ImageNet at 512 pixels, class-conditional, 559 M parameters.

Flags: guided-diffusion's README, and the defaults of its code.

Command:  python main.py --mode=import --config=configs/guided/imagenet_512_cond.py \
          --workdir=runs/imagenet_512_cond --checkpoint=512x512_diffusion.pt
Hardware: one GPU samples it.
Expected: FID 7.72, precision 0.87, recall 0.42 with their classifier's guidance of scale 4 (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.guided(image_size=512, ch_mult=(0.5, 1, 1, 2, 2, 4, 4), label_dim=1000)
    config.training.n_iters = 1_940_000
    return openai.record(config, fid=7.72, precision=0.87, recall=0.42, classifier_scale=4.0)
