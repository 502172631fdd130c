"""What the CelebA recipes share: the central 140 pixels of the aligned faces at 64x64, VE with sigma_max 90.

Prepare the data once, with TensorFlow (the extra `prepare`):
  python -c "import tensorflow_datasets as t; t.builder('celeb_a', file_format='array_record').download_and_prepare()"
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_ve()
    config.data.dataset = "tfds:celeb_a"
    with config.unlocked():
        config.data.image_size = 64
        config.data.crop = 140
        config.data.test_split = "validation"
    config.data.in_memory = False
    config.sde.sigma_max = 90.0
    config.sampling.snr = 0.17
    return config
