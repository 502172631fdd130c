"""Volumes: the frames of a moving digit as slices, by the 3-D U-Net of clips, whose depth takes the part of time.

Commands: python main.py --mode=train --config=configs/shapes/digit_volumes.py --workdir=runs/digit_volumes
          python main.py --mode=sample --workdir=runs/digit_volumes
          python main.py --mode=evaluate --workdir=runs/digit_volumes
          python main.py --mode=compare --workdir=runs/digit_volumes
          python main.py --mode=edit --workdir=runs/digit_volumes
Hardware: two CPU cores.

For NumPy files of your own set data.dataset to volumes, with data.path, data.depth, data.height and data.width.
"""

from ml_collections import ConfigDict

from configs.shapes import moving_digits


def get_config() -> ConfigDict:
    config = moving_digits.get_config()
    config.data.dataset = "digit_volumes"
    config.model.attn_resolutions = (6,)
    return config
