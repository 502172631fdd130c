"""VP on 32x32 crops of scikit-learn's two photographs: CIFAR-10's shapes without a download, a narrow DDPM++.

Command:  python main.py --mode=train --config=configs/vp/photo_patches_ddpmpp.py --workdir=runs/photo_patches
Hardware: one GPU; on two CPU cores a step takes seconds.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.data.dataset = "photo_patches"
    with config.unlocked():
        config.data.image_size = 32
        config.data.num_channels = 3
        config.model.update(nf=64, ch_mult=(1, 2, 2), num_res_blocks=2, attn_resolutions=(16,), dropout=0.1)
    config.model.ema_rate = 0.999
    config.data.uniform_dequantization = True
    config.data.random_flip = True
    config.training.n_iters = 20_000
    config.training.snapshot_freq = 5000
    config.training.snapshot_freq_for_preemption = 1000
    config.optim.warmup = 500
    config.sampling.steps = 500
    config.eval.num_samples = 2000
    config.eval.bpd_max_examples = 512
    return config
