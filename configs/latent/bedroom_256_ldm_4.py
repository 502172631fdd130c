r"""LDM-4 on LSUN bedroom at 256 pixels (Rombach et al. 2022): latents of VQ-f4, 274,056,163 parameters.

Commands: python main.py --mode=import --config=configs/autoencoders/vq_f4.py --workdir=runs/vq_f4 \
          --checkpoint=vq-f4.ckpt
          python main.py --mode=train --config=configs/latent/bedroom_256_ldm_4.py --workdir=runs/bedroom_256_ldm_4
          The autoencoder may lie elsewhere: --config=configs/latent/bedroom_256_ldm_4.py:FOLDER
Hardware: published on one A100; batches of 48.
Expected: FID 2.95, precision 0.66, recall 0.48 (published).
"""

from ml_collections import ConfigDict

from configs import large, latent_diffusion


def get_config(codec: str = "runs/vq_f4") -> ConfigDict:
    config = large.lsun(latent_diffusion.vq_f4(codec), "bedroom")
    config.data.random_flip = True
    config.training.update(batch_size=48, n_iters=1_900_000)
    config.optim.lr = 9.6e-5
    numbers = {"fid": 2.95, "inception_score": 2.22, "precision": 0.66, "recall": 0.48}
    return latent_diffusion.ddim(config, 200, eta=1.0, **numbers)
