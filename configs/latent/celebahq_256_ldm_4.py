r"""LDM-4 on CelebA-HQ at 256 pixels (Rombach et al. 2022): latents of VQ-f4, 274,056,163 parameters.

Commands: python main.py --mode=import --config=configs/autoencoders/vq_f4.py --workdir=runs/vq_f4 \
          --checkpoint=vq-f4.ckpt
          python main.py --mode=train --config=configs/latent/celebahq_256_ldm_4.py \
          --workdir=runs/celebahq_256_ldm_4
          The autoencoder may lie elsewhere: --config=configs/latent/celebahq_256_ldm_4.py:FOLDER
          CompVis/ldm-celebahq-256 of diffusers: --mode=import --config=configs/latent/folder.py:FOLDER
Hardware: published on one A100; batches of 48.
Expected: FID 5.11, precision 0.72, recall 0.49 (published).
"""

from ml_collections import ConfigDict

from configs import large, latent_diffusion


def get_config(codec: str = "runs/vq_f4") -> ConfigDict:
    config = large.celebahq(latent_diffusion.vq_f4(codec))
    config.training.update(batch_size=48, n_iters=410_000)
    config.optim.lr = 9.6e-5
    numbers = {"fid": 5.11, "inception_score": 3.29, "precision": 0.72, "recall": 0.49}
    return latent_diffusion.ddim(config, 200, eta=0.0, **numbers)
