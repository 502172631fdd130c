r"""vq-f4 of latent diffusion's model zoo: 8192 codes of 3 numbers, 4 times smaller.

Command:  python main.py --mode=import --config=configs/autoencoders/vq_f4.py \
          --workdir=runs/vq_f4 --checkpoint=model.ckpt
          (of vq-f4.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 8 pictures a GPU; one GPU reconstructs.
Expected: rFID 0.58, PSNR 27.43 +- 4.26 behind 533,066 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.vq(batch_size=8, disc_start=0, ch_mult=(1, 2, 4), z_channels=3, embed_dim=3, num_codes=8192)
    return first_stages.record(config, n_iters=533_066, rfid=0.58, psnr=27.43, psnr_std=4.26, psim=0.53, psim_std=0.21)
