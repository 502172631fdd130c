r"""cd-lpips of consistency_models_cifar10: distilled with LPIPS.

Command:  python main.py --mode=import --config=configs/consistency/cifar10_cd_lpips.py \
          --workdir=runs/cifar10_cd_lpips --checkpoint=cd-lpips/checkpoints/checkpoint_80
Hardware: one GPU samples it.
Expected: FID 3.55, IS 9.48; FID 2.93, IS 9.75 in two evaluations (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    config = song.as_map(song.cifar10(), batch_size=512, n_iters=800_000, lr=4e-4, ema_rate=0.9999)
    config = song.distilled(config, points=18, target_ema=0.0)
    return song.record(config, fid=3.55, inception_score=9.48, fid_2=2.93, inception_score_2=9.75)
