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
from configs import default


def get_config(path: str = "") -> ConfigDict:
    """The config of the folder `path`; ValueError or OSError, which name file and field, where it has none."""
    if not path:
        raise ValueError("the folder is missing; write --config=configs/diffusers/folder.py:FOLDER")
    name, options, scheduler = diffusers.describe(path)
    shape = {"image_size": options.pop("image_size"), "num_channels": options.pop("num_channels")}
    centered = options.pop("centered")
    config = default.get_config()
    with config.unlocked():
        config.sde = ConfigDict(scheduler.sde)
        config.data.update(dataset="folder", path="", test_fraction=0.0, centered=centered, **shape)
        config.model.update(name=name, prediction=scheduler.prediction, **options)
        if scheduler.is_chain:
            config.model.update(noise_label="index", num_scales=scheduler.num_levels)
        else:
            config.model.noise_label = "sigma"
    config.training.continuous = not scheduler.is_chain
    config.training.eval_freq = 0
    config.sampling.update(scheduler.sampling, scheduler_config=scheduler.text)
    config.eval.batch_size = 64
    config.eval.samplers = (config.sampling.method,)
    config.eval.enable_bpd = False
    return config.lock()
