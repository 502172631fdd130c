r"""ct-lpips of consistency_models_cifar10: trained from data with LPIPS.

Command:  python main.py --mode=import --config=configs/consistency/cifar10_ct_lpips.py \
          --workdir=runs/cifar10_ct_lpips --checkpoint=ct-lpips/checkpoints/checkpoint_74
Hardware: one GPU samples it.
Expected: FID 8.70, IS 8.49; FID 5.83, IS 8.85 in two evaluations (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    config = song.as_map(song.cifar10(), batch_size=512, n_iters=800_000, lr=4e-4, ema_rate=0.9999)
    config = song.from_data(config, end_scales=150, start_ema=0.9)
    return song.record(config, fid=8.7, inception_score=8.49, fid_2=5.83, inception_score_2=8.85)
