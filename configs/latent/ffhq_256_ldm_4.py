r"""LDM-4 on FFHQ at 256 pixels (Rombach et al. 2022): latents of VQ-f4, 274,056,163 parameters.

Commands: python main.py --mode=import --config=configs/autoencoders/vq_f4.py --workdir=runs/vq_f4 \
          --checkpoint=vq-f4.ckpt
          python main.py --mode=train --config=configs/latent/ffhq_256_ldm_4.py --workdir=runs/ffhq_256_ldm_4
          The autoencoder may lie elsewhere: --config=configs/latent/ffhq_256_ldm_4.py:FOLDER
Hardware: published on one A100; batches of 42.
Expected: FID 4.98, precision 0.73, recall 0.50 (published).
"""

from ml_collections import ConfigDict

from configs import large, latent_diffusion


def get_config(codec: str = "runs/vq_f4") -> ConfigDict:
    config = large.ffhq(latent_diffusion.vq_f4(codec))
    config.training.update(batch_size=42, n_iters=635_000)
    config.optim.lr = 8.4e-5
    numbers = {"fid": 4.98, "inception_score": 4.50, "precision": 0.73, "recall": 0.50}
    return latent_diffusion.ddim(config, 200, eta=1.0, **numbers)
