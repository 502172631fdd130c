"""NCSNv2 on LSUN bedroom at 128 pixels: 1086 noise levels from sigma 190, 83.45 M parameters.

Command:  python main.py --mode=train --config=configs/ve/ncsnv2/bedroom.py --workdir=runs/ve_ncsnv2_bedroom
Hardware: four to eight GPUs.
Expected: a recipe without published numbers.
"""

from ml_collections import ConfigDict

from configs import large, ncsn


def get_config() -> ConfigDict:
    config = large.lsun(large.get_ve_256(sigma_max=190.0), "bedroom")
    config.data.image_size = 128
    config.training.batch_size = 128
    ncsn.ncsnv2(config, num_scales=1086, snr=0.095, n_steps_each=3, network="ncsnv2_128")
    config.model.ema_rate = 0.9999
    return config
