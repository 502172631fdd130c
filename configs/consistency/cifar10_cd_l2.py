r"""cd-l2 of consistency_models_cifar10: distilled with the squared distance.

Command:  python main.py --mode=import --config=configs/consistency/cifar10_cd_l2.py \
          --workdir=runs/cifar10_cd_l2 --checkpoint=cd-l2/checkpoints/checkpoint_80
Hardware: one GPU samples it.
Expected: no number was published of this file alone.
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    config = song.as_map(song.cifar10(), batch_size=512, n_iters=800_000, lr=4e-4, ema_rate=0.9999)
    return song.distilled(config, points=18, target_ema=0.0)
