r"""cd_imagenet64_lpips.pt of consistency_models: ImageNet at 64 pixels by class, distilled with LPIPS.

Published samples of two evaluations go back into noise of sigma 1.382, the time 22 of 40 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(1.38237,)".

Command:  python main.py --mode=import --config=configs/consistency/imagenet_64_cd_lpips.py \
          --workdir=runs/imagenet_64_cd_lpips --checkpoint=cd_imagenet64_lpips.pt
Hardware: one GPU samples it.
Expected: FID 6.20, precision 0.68, recall 0.63; FID 4.70, precision 0.69, recall 0.64 in two evaluations
          (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    config = song.as_map(song.imagenet_64(), batch_size=2048, n_iters=600_000, lr=8e-6, ema_rate=0.999943)
    config = song.distilled(config, points=40, target_ema=0.95)
    return song.record(config, fid=6.2, precision=0.68, recall=0.63, fid_2=4.7, precision_2=0.69, recall_2=0.64)
