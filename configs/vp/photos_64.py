"""VP on the pixels of 64x64 crops of scikit-learn's two photographs: what configs/latent/photos.py is compared with.

Command:  python -m benchmarks.latent trains it as long as the model of latents, and as large.
          python main.py --mode=train --config=configs/vp/photos_64.py --workdir=runs/photos_64
Hardware: two CPU cores; an image takes 18 times as long to draw as one of latents.
"""

from ml_collections import ConfigDict

from configs import photos


def get_config() -> ConfigDict:
    config = photos.get_config()
    with config.unlocked():
        config.data.update(train_length=10_000, test_length=500)
        config.model.attn_resolutions = (16,)
    config.data.uniform_dequantization = True
    config.training.batch_size = 8  # so that it takes more steps in the time of the model of latents
    config.training.n_iters = 800
    config.training.eval_freq = 400
    config.training.snapshot_freq = 400
    config.training.snapshot_freq_for_preemption = 50
    config.optim.decay_steps = 800
    return config
