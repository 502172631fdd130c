r"""cifar10_uncond_50M_500K.pt of improved-diffusion: CIFAR-10, 52.5 M parameters, 4000 steps.

Flags: improved-diffusion's README, and the defaults of its code. `cifar10_uncond_vlb_50M_500K.pt`, trained on
the bound itself, is the same network on the same chain.

Command:  python main.py --mode=import --config=configs/guided/improved_cifar10_32_uncond.py \
          --workdir=runs/improved_cifar10_32_uncond --checkpoint=cifar10_uncond_50M_500K.pt
Hardware: one GPU samples it.
Expected: 2.94 bits/dim by the variational bound, where that was trained on (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.improved(image_size=32, ch_mult=(1, 2, 2, 2), dropout=0.3)
    config.data.dataset = "tfds:cifar10"
    config.data.test_split = "test"
    config.training.n_iters = 500_000
    return config
