"""EDM's training on scikit-learn's digits: otherwise, the falling rate and clipping among it, as configs/vp/digits.py.

Command:  python main.py --mode=train --config=configs/edm/digits.py --workdir=runs/digits_edm
Hardware: two CPU cores, shared with other work; training 10 min 17 s.
Expected: 2.006 +- 0.014 bits/dim on the 297 held-out digits; Frechet distance over pixels 0.139 (adaptive flow, 129
evaluations) at a floor of 0.088; loss on the test set 0.500 (measured).
The network learns the digits' mirror images, turned and stretched ones too, but is told of what was done to them; what
it is told to draw are digits.
"""

from ml_collections import ConfigDict

from configs import digits, karras


def get_config() -> ConfigDict:
    config = karras.as_edm(digits.get_config())
    karras.schedule(config, batch_size=128, images=153_600, lr=2e-3, halflife=40e3)
    with config.unlocked():
        config.model.name = "edm_unet"
        config.model.augment_dim = 9
    config.data.augment = 0.12
    config.optim.warmup_images = 12_800
    config.eval.samplers = ("heun", "ode")
    return config
