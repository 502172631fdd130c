r"""cd_cat256_l2.pt of consistency_models: LSUN cat at 256 pixels, distilled with the squared distance.

Command:  python main.py --mode=import --config=configs/consistency/cat_256_cd_l2.py \
          --workdir=runs/cat_256_cd_l2 --checkpoint=cd_cat256_l2.pt
Hardware: one GPU samples it.
Expected: no number was published of this file alone.
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    teacher = song.lsun_256("cat", n_iters=300_000)
    config = song.as_map(teacher, batch_size=2048, n_iters=600_000, lr=1e-5, ema_rate=0.999943)
    return song.distilled(config, points=40, target_ema=0.95)
