r"""ct_imagenet64.pt of consistency_models: ImageNet at 64 pixels by class, trained from data.

Published samples of two evaluations go back into noise of sigma 1.913, the time 106 of 201 of EDM's grid:
--config.sampling.evaluations=2 --config.sampling.grid=given "--config.sampling.grid_noise=(1.91284,)".

Command:  python main.py --mode=import --config=configs/consistency/imagenet_64_ct.py \
          --workdir=runs/imagenet_64_ct --checkpoint=ct_imagenet64.pt
Hardware: one GPU samples it.
Expected: FID 13.0, precision 0.71, recall 0.47; FID 11.1, precision 0.69, recall 0.56 in two evaluations
          (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    config = song.as_map(song.imagenet_64(), batch_size=2048, n_iters=800_000, lr=8e-6, ema_rate=0.999943)
    config = song.from_data(config, end_scales=200, start_ema=0.95)
    return song.record(config, fid=13.0, precision=0.71, recall=0.47, fid_2=11.1, precision_2=0.69, recall_2=0.56)
