r"""cd_bedroom256_lpips.pt of consistency_models: LSUN bedroom at 256 pixels, distilled with LPIPS.

Published samples of two evaluations go back into noise of sigma 4.366, the time 17 of 40 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(4.36556,)".

Command:  python main.py --mode=import --config=configs/consistency/bedroom_256_cd_lpips.py \
          --workdir=runs/bedroom_256_cd_lpips --checkpoint=cd_bedroom256_lpips.pt
Hardware: one GPU samples it.
Expected: FID 7.80, precision 0.66, recall 0.34; FID 5.22, precision 0.68, recall 0.39 in two evaluations
          (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    teacher = song.lsun_256("bedroom", n_iters=600_000)
    config = song.as_map(teacher, batch_size=2048, n_iters=600_000, lr=1e-5, ema_rate=0.0)
    config = song.distilled(config, points=40, target_ema=0.95)
    return song.record(config, fid=7.8, precision=0.66, recall=0.34, fid_2=5.22, precision_2=0.68, recall_2=0.39)
