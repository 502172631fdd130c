r"""Any folder of diffusers that describes itself: an unconditional UNet2DModel and the scheduler beside it.

Network, noise, prediction and sampler are read from config.json (or unet/config.json), scheduler_config.json (or
scheduler/scheduler_config.json) and model_index.json. Nothing in them says what data the model was trained on: that is
the folder data.path, where an evaluation needs data.

Command:  python main.py --mode=import --config=configs/diffusers/folder.py:FOLDER \
          --workdir=runs/imported --checkpoint=FOLDER
          then --mode=sample or --mode=evaluate with the same --config.
Hardware: as the model asks; one GPU samples most of them.
Expected: what its publisher says of it.
"""

from ml_collections import ConfigDict

from checkpoints import diffusers
from configs import hub


def get_config(path: str = "") -> ConfigDict:
    """The config of the folder `path`; ValueError or OSError, which name file and field, where it has none."""
    if not path:
        raise ValueError("the folder is missing; write --config=configs/diffusers/folder.py:FOLDER")
    name, options, scheduler = diffusers.describe(path)
    shape = {"image_size": options.pop("image_size"), "num_channels": options.pop("num_channels")}
    return hub.of_folder(name, options, scheduler, **shape).lock()
