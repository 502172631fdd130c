r"""edm_cat256_ema.pt of consistency_models: EDM on LSUN cat at 256 pixels, the teacher.

Command:  python main.py --mode=import --config=configs/consistency/cat_256_edm.py \
          --workdir=runs/cat_256_edm --checkpoint=edm_cat256_ema.pt
Hardware: one GPU samples it.
Expected: FID 6.69, precision 0.70, recall 0.43 in 79 evaluations (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    return song.record(song.lsun_256("cat", n_iters=300_000), fid=6.69, precision=0.7, recall=0.43)
