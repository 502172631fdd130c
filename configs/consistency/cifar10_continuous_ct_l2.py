r"""continuous-ct-l2 of consistency_models_cifar10: trained from data in continuous time.

Command:  python main.py --mode=import --config=configs/consistency/cifar10_continuous_ct_l2.py \
          --workdir=runs/cifar10_continuous_ct_l2 --checkpoint=continuous-ct-l2/checkpoints/checkpoint_80
Hardware: one GPU samples it.
Expected: no number was published of this file alone.
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    return song.as_map(song.cifar10(), batch_size=512, n_iters=800_000, lr=5e-6, ema_rate=0.9999)
