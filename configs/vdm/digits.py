"""VDM on scikit-learn's digits: the bound in continuous time, trained with its noise schedule (Kingma et al. 2021).

Command:  python main.py --mode=train --config=configs/vdm/digits.py --workdir=runs/digits_vdm
"""

from ml_collections import ConfigDict

from configs import digits


def get_config() -> ConfigDict:
    config = digits.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "vdm", "gamma_min": -13.3, "gamma_max": 5.0, "features": 1024, "t_min": 1e-5})
        # The published exponents 6 and 7 tell 256 levels apart; these are 17.
        config.model.fourier_features = (2, 3)
    config.data.uniform_dequantization = False  # the decoder knows the levels
    config.model.prediction = "v"
    config.model.noise_label = "gamma"
    config.training.loss = "vdm"
    config.optim.grad_clip = 10.0  # gradients are those of bits, an order of magnitude above L_simple's
    config.eval.bpd_dequantization = "process"
    config.eval.enable_vlb = True
    return config
