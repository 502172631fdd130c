"""VE on digits, otherwise as configs/vp/digits.py.

Command:  python main.py --mode=train --config=configs/ve/digits.py --workdir=runs/digits_ve
sigma_max is about the largest distance between two digits. The network predicts the score and divides by sigma, as
published; its Fourier features are smoother than the published ones (scale 1 instead of 16), for the adaptive flow.
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "ve", "sigma_min": 0.01, "sigma_max": 6.0, "t_min": 1e-5})
        config.model.update(embedding_type="fourier", fourier_scale=1.0, scale_by_sigma=True)
    config.model.prediction = "score"
    config.model.noise_label = "sigma"
    config.data.centered = False
    config.sampling.t_min = 1e-5
    return config
