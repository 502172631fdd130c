r"""The autoencoder in a single file of a whole Stable Diffusion of CompVis or Stability, which has its own scale.

Command:  python main.py --mode=import --config=configs/autoencoders/file.py:FILE \
          --workdir=runs/imported --checkpoint=FILE
          then --mode=evaluate with the same --config, or data.codec=runs/imported in another run.
Hardware: one GPU reconstructs.
Expected: what its publisher says of it.
"""

from ml_collections import ConfigDict

from checkpoints import stable_diffusion_file
from configs import first_stages


def get_config(path: str = "") -> ConfigDict:
    """The config of the file `path`; ValueError or OSError where it holds no whole Stable Diffusion."""
    if not path:
        raise ValueError("the file is missing; write --config=configs/autoencoders/file.py:FILE")
    whole = stable_diffusion_file.describe(path)
    size, options = whole.family.image_size, dict(whole.autoencoder)
    channels = options.pop("num_channels")
    config = first_stages.get_config("autoencoder_kl", batch_size=8, image_size=size, **options)
    config.data.num_channels = channels
    return config.lock()
