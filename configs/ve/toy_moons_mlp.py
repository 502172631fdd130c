"""VE on two moons in the plane.

Command:  python main.py --mode=train --config=configs/ve/toy_moons_mlp.py --workdir=runs/moons
"""

from ml_collections import ConfigDict

from configs import toy


def get_config() -> ConfigDict:
    config = toy.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "ve", "sigma_min": 0.01, "sigma_max": 10.0, "t_min": 1e-5})
        config.model.embedding_type = "fourier"
    config.model.noise_label = "sigma"
    config.data.dataset = "toy_moons"
    config.sampling.t_min = 1e-5
    return config
