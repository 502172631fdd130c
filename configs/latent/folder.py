r"""Any folder of diffusers' LDMPipeline that describes itself: unet/, vqvae/ or vae/, scheduler/ and model_index.json.

Network, noise, prediction and sampler are read from the U-Net's config.json and the scheduler_config.json; the
autoencoder, with its scaling factor, from its own config.json. The import makes a run of the autoencoder too, in
WORKDIR/codec, which the run of the U-Net has as its `data.codec`. Nothing in the folder says what data it was trained
on: that is the folder data.path, where an evaluation needs data.

Command:  python main.py --mode=import --config=configs/latent/folder.py:FOLDER \
          --workdir=runs/imported --checkpoint=FOLDER
          then --mode=sample or --mode=evaluate of the same --workdir.
Hardware: as the model asks; one GPU samples most of them.
Expected: what its publisher says of it.
"""

from ml_collections import ConfigDict

from checkpoints import diffusers, diffusers_autoencoder
from configs import hub


def get_config(path: str = "") -> ConfigDict:
    """The config of the folder `path`; ValueError or OSError, which name file and field, where it has none."""
    if not path:
        raise ValueError("the folder is missing; write --config=configs/latent/folder.py:FOLDER")
    name, options, scheduler = diffusers.describe(path, latents=True)
    beside = diffusers.autoencoder_of(path)
    if beside is None:
        raise ValueError(
            f"{path} has no autoencoder (vae/ or vqvae/) beside its network; take configs/diffusers/folder.py"
        )
    _, autoencoder = diffusers_autoencoder.describe(beside)
    return hub.of_latents(name, options, scheduler, autoencoder, where=(path, beside)).lock()
