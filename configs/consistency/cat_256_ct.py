r"""ct_cat256.pt of consistency_models: LSUN cat at 256 pixels, trained from data.

Published samples of two evaluations go back into noise of sigma 5.249, the time 62 of 151 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(5.2485,)".

Command:  python main.py --mode=import --config=configs/consistency/cat_256_ct.py \
          --workdir=runs/cat_256_ct --checkpoint=ct_cat256.pt
Hardware: one GPU samples it.
Expected: FID 20.7, precision 0.56, recall 0.23; FID 11.7, precision 0.63, recall 0.36 in two evaluations
          (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    teacher = song.lsun_256("cat", n_iters=300_000)
    config = song.as_map(teacher, batch_size=2048, n_iters=1_000_000, lr=1e-5, ema_rate=0.999943)
    config = song.from_data(config, end_scales=150, start_ema=0.95)
    return song.record(config, fid=20.7, precision=0.56, recall=0.23, fid_2=11.7, precision_2=0.63, recall_2=0.36)
