r"""LDM-4-G on ImageNet at 256 pixels (Rombach et al. 2022): latents of VQ-f4, classes by cross-attention, 401,433,091
parameters.

Commands: python main.py --mode=import --config=configs/autoencoders/vq_f4.py --workdir=runs/vq_f4 \
          --checkpoint=vq-f4.ckpt
          python main.py --mode=train --config=configs/latent/imagenet_256_ldm_4.py \
          --workdir=runs/imagenet_256_ldm_4
          The autoencoder may lie elsewhere: --config=configs/latent/imagenet_256_ldm_4.py:FOLDER
Hardware: published on one A100; batches of 1200.
Expected: FID 3.60, Inception Score 247.67 +- 5.59, precision 0.87, recall 0.48 with guidance 1.5; without, FID 10.56,
          103.49 +- 1.24, 0.71 and 0.62 (published). DDIM's eta is that of the paper's pictures of these classes; its
          table does not name it.
"""

from ml_collections import ConfigDict

from configs import latent_diffusion


def get_config(codec: str = "runs/vq_f4") -> ConfigDict:
    attention = {"depths": (0, 1, 1, 1), "num_heads": (1,), "text_dim": 0, "label_dim": 1000}
    config = latent_diffusion.get_config(
        codec=codec, name="cross_attention_unet", nf=192, ch_mult=(1, 2, 3, 5), num_res_blocks=2, **attention
    )
    config.data.dataset = "tfds:imagenet2012"
    config.data.update(latent_scale=1.0, latent_shift=0.0)
    config.training.update(batch_size=1200, n_iters=178_000, label_dropout=0.1)
    config.optim.lr = 1e-4
    config.sampling.guidance = 1.5
    numbers = {"fid": 3.60, "inception_score": 247.67, "precision": 0.87, "recall": 0.48}
    return latent_diffusion.ddim(config, 250, eta=1.0, **numbers)
