r"""edm_bedroom256_ema.pt of consistency_models: EDM on LSUN bedroom at 256 pixels, the teacher.

Command:  python main.py --mode=import --config=configs/consistency/bedroom_256_edm.py \
          --workdir=runs/bedroom_256_edm --checkpoint=edm_bedroom256_ema.pt
Hardware: one GPU samples it.
Expected: FID 3.57, precision 0.66, recall 0.45 in 79 evaluations (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    return song.record(song.lsun_256("bedroom", n_iters=600_000), fid=3.57, precision=0.66, recall=0.45)
