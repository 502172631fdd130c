r"""lsun_bedroom.pt of guided-diffusion: LSUN bedroom at 256 pixels, 552 M parameters.

Flags: guided-diffusion's README, and the defaults of its code.

Command:  python main.py --mode=import --config=configs/guided/lsun_bedroom_256.py \
          --workdir=runs/lsun_bedroom_256 --checkpoint=lsun_bedroom.pt
Hardware: one GPU samples it.
Expected: FID 1.90, precision 0.66, recall 0.51 in 1000 steps (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.lsun(openai.guided(image_size=256, dropout=0.1), "bedroom")
    config.training.n_iters = 500_000
    return openai.record(config, sampler="learned variance, 1000 steps", fid=1.9, precision=0.66, recall=0.51)
