"""Clips: digits that move and bounce, by a 3-D U-Net that attends in space and in time by turns.

Commands: python main.py --mode=train --config=configs/shapes/moving_digits.py --workdir=runs/moving_digits
          python main.py --mode=sample --workdir=runs/moving_digits
          python main.py --mode=evaluate --workdir=runs/moving_digits
          python main.py --mode=compare --workdir=runs/moving_digits
          python main.py --mode=edit --workdir=runs/moving_digits
Hardware: two CPU cores.

For animated pictures set data.dataset to clips, with data.path, data.frames, data.size and data.channels.
"""

from ml_collections import ConfigDict

from configs import default, other_shapes


def get_config() -> ConfigDict:
    config = other_shapes.get_config()
    config.data.dataset = "moving_digits"
    options = {"nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (8,), "head_channels": 16}
    default.with_network(config, "unet_3d", **options)
    config.training.batch_size = 16
    config.sampling.count = 36
    config.edit.mask = "first"
    return config
