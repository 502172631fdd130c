r"""edm_cifar10_ema of consistency_models_cifar10: EDM's training of NCSN++, the teacher.

Command:  python main.py --mode=import --config=configs/consistency/cifar10_edm.py \
          --workdir=runs/cifar10_edm --checkpoint=edm_cifar10_ema
Hardware: one GPU samples it.
Expected: FID 2.04, IS 9.84 in 35 evaluations (published).
"""

from ml_collections import ConfigDict

from configs import song


def get_config() -> ConfigDict:
    return song.record(song.cifar10(), fid=2.04, inception_score=9.84)
