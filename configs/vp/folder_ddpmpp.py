"""VP on a folder of your own image files, cut to squares of 32 x 32: a narrow DDPM++.

Command:  python main.py --mode=train --config=configs/vp/folder_ddpmpp.py --workdir=runs/my --config.data.path=/images
Hardware: one GPU; on two CPU cores a step takes seconds.
Other sizes: --config.data.image_size=64, or 48,64 for a height and a width, in multiples of 4.
"""

from ml_collections import ConfigDict

from configs.vp import photo_patches_ddpmpp


def get_config() -> ConfigDict:
    config = photo_patches_ddpmpp.get_config()
    config.data.dataset = "folder"
    with config.unlocked():
        config.data.path = "data/images"  # or a zip file; data.classes=True: labels of its dataset.json or folders
        config.data.test_fraction = 0.1  # held out by the hash of their names; or give data.test_path
        config.data.test_path = ""
    return config
