"""What the models of 64x64 crops of scikit-learn's two photographs share, of their pixels and of their latents.

A narrow DDPM++ of three levels; sized for two CPU cores.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.data.dataset = "photo_patches"
    with config.unlocked():
        config.data.update(size=64, image_size=64, num_channels=3)
        config.model.update(nf=64, ch_mult=(1, 2, 2), num_res_blocks=1, dropout=0.0, embedding_type="positional")
    config.model.ema_rate = 0.998
    config.training.batch_size = 32
    config.training.stratified = True
    config.training.snapshot_freq_for_preemption = 200
    config.optim.lr = 1e-3
    config.optim.warmup = 100
    config.sampling.update(method="dpmpp_2m", evaluations=10, grid="log_snr", rtol=1e-3, atol=1e-3)
    config.eval.update(batch_size=100, num_samples=400, samplers=("dpmpp_2m",), frechet_size=16)
    config.eval.update(bpd_max_examples=200, rtol=1e-3, atol=1e-3)
    return config
