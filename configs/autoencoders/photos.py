"""A KL autoencoder of 64x64 crops of scikit-learn's two photographs, to 16x16 latents of 4 channels (f4).

Command:  python main.py --mode=train --config=configs/autoencoders/photos.py --workdir=runs/photos_autoencoder
Hardware: two CPU cores; training took 13 minutes beside other work.
Expected: PSNR 26.99 +- 0.30 dB and SSIM 0.769 +- 0.010 of 500 held-out crops; without the discriminator
          (--config.training.disc_factor=0) 27.84 +- 0.31 and 0.802 +- 0.009 (measured).

The weights of LPIPS are a user's own: ``--config.training.perceptual=lpips``, with eval.vgg16 and eval.lpips_heads.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.data.dataset = "photo_patches"
    with config.unlocked():
        config.data.update(size=64, image_size=64, num_channels=3, test_length=500)
        config.model.update(
            name="autoencoder_kl",
            nf=16,
            ch_mult=(1, 2, 2),
            num_res_blocks=1,
            num_groups=8,
            z_channels=4,
            embed_dim=4,
        )
    config.data.random_flip = True
    config.model.ema_rate = 0.998
    config.training.loss = "autoencoder"
    config.training.batch_size = 8
    config.training.n_iters = 1200
    config.training.disc_start = 600
    config.training.disc_layers = 2
    config.training.disc_channels = 16
    config.training.eval_freq = 400
    config.training.snapshot_freq = 600
    config.training.snapshot_freq_for_preemption = 100
    config.optim.lr = 2e-3
    config.optim.beta1 = 0.5
    config.optim.beta2 = 0.9
    config.optim.warmup = 50
    config.optim.decay_steps = 1200
    config.optim.grad_clip = 0.0  # the loss is a sum over an image's numbers, and as large as they are many
    config.eval.batch_size = 64
    config.eval.enable_bpd = False
    config.eval.enable_sampling = False
    return config
