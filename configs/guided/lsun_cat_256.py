r"""lsun_cat.pt of guided-diffusion: LSUN cat at 256 pixels, 552 M parameters.

Flags: guided-diffusion's README, and the defaults of its code.

Command:  python main.py --mode=import --config=configs/guided/lsun_cat_256.py \
          --workdir=runs/lsun_cat_256 --checkpoint=lsun_cat.pt
Hardware: one GPU samples it.
Expected: FID 5.57, precision 0.63, recall 0.52 in 1000 steps (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.lsun(openai.guided(image_size=256, dropout=0.1), "cat")
    config.training.n_iters = 200_000
    return openai.record(config, sampler="learned variance, 1000 steps", fid=5.57, precision=0.63, recall=0.52)
