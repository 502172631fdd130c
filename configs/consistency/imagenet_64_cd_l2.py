r"""cd_imagenet64_l2.pt of consistency_models: ImageNet at 64 pixels by class, distilled with the squared distance.

Published samples of two evaluations go back into noise of sigma 1.382, the time 22 of 40 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(1.38237,)".

Command:  python main.py --mode=import --config=configs/consistency/imagenet_64_cd_l2.py \
          --workdir=runs/imagenet_64_cd_l2 --checkpoint=cd_imagenet64_l2.pt
Hardware: one GPU samples it.
Expected: no number was published of this file alone.
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    config = song.as_map(song.imagenet_64(), batch_size=2048, n_iters=600_000, lr=8e-6, ema_rate=0.999943)
    return song.distilled(config, points=40, target_ema=0.95)
