r"""256x256_diffusion.pt of guided-diffusion: ImageNet at 256 pixels, class-conditional, 554 M parameters.

Flags: guided-diffusion's README, and the defaults of its code.

Command:  python main.py --mode=import --config=configs/guided/imagenet_256_cond.py \
          --workdir=runs/imagenet_256_cond --checkpoint=256x256_diffusion.pt
Hardware: one GPU samples it.
Expected: FID 4.59, precision 0.82, recall 0.52 with their classifier's guidance of scale 1 (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.guided(image_size=256, label_dim=1000)
    config.training.n_iters = 1_980_000
    return openai.record(config, fid=4.59, precision=0.82, recall=0.52, classifier_scale=1.0)
