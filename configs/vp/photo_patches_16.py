"""VP on 16x16 crops of scikit-learn's two photographs: colour on two CPU cores, for the notebook on steering.

Command:  python main.py --mode=train --config=configs/vp/photo_patches_16.py --workdir=runs/photo_patches_16
"""

from ml_collections import ConfigDict

from configs.vp import photo_patches_ddpmpp


def get_config() -> ConfigDict:
    config = photo_patches_ddpmpp.get_config()
    with config.unlocked():
        config.data.size = config.data.image_size = 16
        config.model.update(nf=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), dropout=0.0)
    config.model.ema_rate = 0.995
    config.training.batch_size = 32
    config.training.n_iters = 900
    config.training.stratified = True
    config.training.eval_freq = 450
    config.training.snapshot_freq = 450
    config.training.snapshot_freq_for_preemption = 150
    config.optim.lr = 1e-3
    config.optim.warmup = 100
    config.optim.decay_steps = 900
    # Trained so short, it is wrong about mean colours at high noise: keep them in range, and correct as you go.
    config.sampling.update(method="ddim", eta=1.0, grid="log_snr", evaluations=100, threshold="clip")
    config.edit.method = "consistent"
    config.eval.update(samplers=("ddim",), batch_size=64, num_samples=500, bpd_max_examples=256)
    return config
