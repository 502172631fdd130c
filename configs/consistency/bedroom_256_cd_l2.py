r"""cd_bedroom256_l2.pt of consistency_models: LSUN bedroom at 256 pixels, distilled with the squared distance.

Published samples of two evaluations go back into noise of sigma 3.52, the time 18 of 40 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(3.5197,)".

Command:  python main.py --mode=import --config=configs/consistency/bedroom_256_cd_l2.py \
          --workdir=runs/bedroom_256_cd_l2 --checkpoint=cd_bedroom256_l2.pt
Hardware: one GPU samples it.
Expected: no number was published of this file alone.
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    teacher = song.lsun_256("bedroom", n_iters=600_000)
    config = song.as_map(teacher, batch_size=2048, n_iters=600_000, lr=1e-5, ema_rate=0.0)
    return song.distilled(config, points=40, target_ema=0.95)
