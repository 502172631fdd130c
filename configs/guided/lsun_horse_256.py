r"""lsun_horse.pt of guided-diffusion: LSUN horse at 256 pixels, 552 M parameters.

Flags: guided-diffusion's README, and the defaults of its code.
`lsun_horse_nodropout.pt` is the same network trained without dropout, which import does not see.

Command:  python main.py --mode=import --config=configs/guided/lsun_horse_256.py \
          --workdir=runs/lsun_horse_256 --checkpoint=lsun_horse.pt
Hardware: one GPU samples it.
Expected: FID 2.57, precision 0.71, recall 0.55 in 1000 steps (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.lsun(openai.guided(image_size=256, dropout=0.1), "horse")
    config.training.n_iters = 250_000
    return openai.record(config, sampler="learned variance, 1000 steps", fid=2.57, precision=0.71, recall=0.55)
