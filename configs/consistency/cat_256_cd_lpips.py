r"""cd_cat256_lpips.pt of consistency_models: LSUN cat at 256 pixels, distilled with LPIPS.

Command:  python main.py --mode=import --config=configs/consistency/cat_256_cd_lpips.py \
          --workdir=runs/cat_256_cd_lpips --checkpoint=cd_cat256_lpips.pt
Hardware: one GPU samples it.
Expected: FID 11.0, precision 0.65, recall 0.36; FID 8.84, precision 0.66, recall 0.40 in two evaluations
          (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    teacher = song.lsun_256("cat", n_iters=300_000)
    config = song.as_map(teacher, batch_size=2048, n_iters=600_000, lr=1e-5, ema_rate=0.999943)
    config = song.distilled(config, points=40, target_ema=0.95)
    return song.record(config, fid=11.0, precision=0.65, recall=0.36, fid_2=8.84, precision_2=0.66, recall_2=0.4)
