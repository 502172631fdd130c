"""VP on a folder of your own image files, cut to squares of 16 x 16: a first model on two CPU cores.

Command:  python main.py --mode=train --config=configs/vp/folder_16.py --workdir=runs/first --config.data.path=/images
Hardware: two CPU cores, 5 minutes beside other work, of which compiling is half a minute.
Expected: of 400 crops of scikit-learn's two photographs, 48 to 120 pixels a side, 4.597 +- 0.152 bits/dim on the 42
          that are held out (measured).
"""

from ml_collections import ConfigDict

from configs.vp import photo_patches_16


def get_config() -> ConfigDict:
    config = photo_patches_16.get_config()
    config.data.dataset = "folder"
    with config.unlocked():
        del config.data.size  # of the crops there
        config.data.path = "data/images"  # or a zip file
        config.data.test_fraction = 0.1  # held out by the hash of their names; or give data.test_path
        config.data.test_path = ""
    return config
