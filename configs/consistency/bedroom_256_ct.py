r"""ct_bedroom256.pt of consistency_models: LSUN bedroom at 256 pixels, trained from data.

Published samples of two evaluations go back into noise of sigma 3.991, the time 67 of 151 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(3.99122,)".

Command:  python main.py --mode=import --config=configs/consistency/bedroom_256_ct.py \
          --workdir=runs/bedroom_256_ct --checkpoint=ct_bedroom256.pt
Hardware: one GPU samples it.
Expected: FID 16.0, precision 0.60, recall 0.17; FID 7.85, precision 0.68, recall 0.33 in two evaluations
          (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    teacher = song.lsun_256("bedroom", n_iters=600_000)
    config = song.as_map(teacher, batch_size=2048, n_iters=1_000_000, lr=1e-5, ema_rate=0.999943)
    config = song.from_data(config, end_scales=150, start_ema=0.95)
    return song.record(config, fid=16.0, precision=0.6, recall=0.17, fid_2=7.85, precision_2=0.68, recall_2=0.33)
