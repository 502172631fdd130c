r"""kl-f8 of latent diffusion's model zoo: KL, 8 times smaller, 4 channels.

Command:  python main.py --mode=import --config=configs/autoencoders/kl_f8.py \
          --workdir=runs/kl_f8 --checkpoint=model.ckpt
          (of kl-f8.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 4 pictures a GPU; one GPU reconstructs.
Expected: rFID 0.90, PSNR 24.19 +- 4.19 behind 246,803 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.kl(batch_size=4, ch_mult=(1, 2, 4, 4), z_channels=4, embed_dim=4)
    return first_stages.record(config, n_iters=246_803, rfid=0.9, psnr=24.19, psnr_std=4.19, psim=1.02, psim_std=0.35)
