"""VP on the latents of 64x64 crops of scikit-learn's two photographs: 16x16x4 numbers in place of 64x64x3.

Commands: python main.py --mode=train --config=configs/autoencoders/photos.py --workdir=runs/photos_autoencoder
          python main.py --mode=train --config=configs/latent/photos.py --workdir=runs/photos_latent
          The autoencoder may lie elsewhere: --config=configs/latent/photos.py:FOLDER
Hardware: two CPU cores; training took 17 minutes beside other work. `make latent` runs both, and evaluates them.
Expected: a Frechet distance of 17.8 over pixels averaged down to 16x16, 5.8 times the floor, in 10 evaluations
          (measured; a model of pixels as large and trained as long is at 29.1).
"""

from ml_collections import ConfigDict

from configs import photos


def get_config(codec: str = "runs/photos_autoencoder") -> ConfigDict:
    config = photos.get_config()
    config.data.codec = codec
    config.data.latent_cache = "runs/latent_cache"
    with config.unlocked():
        config.data.update(train_length=10_000, test_length=500)
        config.model.attn_resolutions = (8,)
    config.training.n_iters = 800
    config.training.eval_freq = 400
    config.training.snapshot_freq = 400
    config.optim.decay_steps = 800
    return config
