r"""edm_imagenet64_ema.pt of consistency_models: EDM on ImageNet at 64 pixels by class, the teacher.

Command:  python main.py --mode=import --config=configs/consistency/imagenet_64_edm.py \
          --workdir=runs/imagenet_64_edm --checkpoint=edm_imagenet64_ema.pt
Hardware: one GPU samples it.
Expected: FID 2.44, precision 0.71, recall 0.67 in 79 evaluations (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    return song.record(song.imagenet_64(), fid=2.44, precision=0.71, recall=0.67)
