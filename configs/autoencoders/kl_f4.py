r"""kl-f4 of latent diffusion's model zoo: KL, 4 times smaller, 3 channels.

Command:  python main.py --mode=import --config=configs/autoencoders/kl_f4.py \
          --workdir=runs/kl_f4 --checkpoint=model.ckpt
          (of kl-f4.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 10 pictures a GPU; one GPU reconstructs.
Expected: rFID 0.27, PSNR 27.53 +- 4.54 behind 176,991 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.kl(batch_size=10, ch_mult=(1, 2, 4), z_channels=3, embed_dim=3)
    return first_stages.record(config, n_iters=176_991, rfid=0.27, psnr=27.53, psnr_std=4.54, psim=0.55, psim_std=0.24)
