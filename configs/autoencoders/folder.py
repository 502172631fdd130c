r"""Any autoencoder of diffusers that describes itself: AutoencoderKL or VQModel, alone or in the folder of a pipeline.

The network and its scaling factor are read from config.json, of the folder, its vae/ or its vqvae/. Nothing there says
what data it was trained on: that is the folder data.path, where a training or an evaluation needs data.

Command:  python main.py --mode=import --config=configs/autoencoders/folder.py:FOLDER \
          --workdir=runs/imported --checkpoint=FOLDER
          then --mode=evaluate with the same --config, or data.codec=runs/imported in another run.
Hardware: as the model asks; one GPU reconstructs with most of them.
Expected: what its publisher says of it.
"""

from ml_collections import ConfigDict

from checkpoints import diffusers_autoencoder
from configs import first_stages


def get_config(path: str = "") -> ConfigDict:
    """The config of the folder `path`; ValueError or OSError, which name file and field, where it has none."""
    if not path:
        raise ValueError("the folder is missing; write --config=configs/autoencoders/folder.py:FOLDER")
    name, options = diffusers_autoencoder.describe(path)
    channels = options.pop("num_channels")
    config = first_stages.get_config(name, batch_size=8, **options)
    config.data.num_channels = channels
    return config.lock()
