"""The recipe of latents and what it is compared with: two models of one size, of one data set, over one autoencoder."""

from pathlib import Path

import pytest

from configs.autoencoders import photos as autoencoder
from configs.latent import photos as latent
from configs.vp import photos_64 as pixels
from experiment import build
from experiment.workdir import Workdir


@pytest.mark.slow
def test_the_models_of_latents_and_of_pixels_are_as_large_and_of_the_same_pictures(tmp_path: Path) -> None:
    Workdir(tmp_path).begin(autoencoder.get_config())
    of_latents, of_pixels = build(latent.get_config(str(tmp_path))), build(pixels.get_config())
    assert of_latents.codec.shape == (16, 16, 4) and of_pixels.codec.shape == (64, 64, 3)
    assert of_latents.network.count() == pytest.approx(of_pixels.network.count(), rel=1e-3)
    of_pictures = build(autoencoder.get_config()).source
    for source in (of_latents.source, of_pixels.source):
        assert source.shape == of_pictures.shape and source.name == of_pictures.name
    assert (of_latents.source.train.corners == of_pixels.source.train.corners).all()  # type: ignore[attr-defined]
