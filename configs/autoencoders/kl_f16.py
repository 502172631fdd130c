r"""kl-f16 of latent diffusion's model zoo: KL, 16 times smaller, 16 channels.

Command:  python main.py --mode=import --config=configs/autoencoders/kl_f16.py \
          --workdir=runs/kl_f16 --checkpoint=model.ckpt
          (of kl-f16.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 6 pictures a GPU; one GPU reconstructs.
Expected: rFID 0.87, PSNR 24.08 +- 4.22 behind 442,998 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.kl(batch_size=6, ch_mult=(1, 1, 2, 2, 4), z_channels=16, embed_dim=16, attn_resolutions=(16,))
    return first_stages.record(config, n_iters=442_998, rfid=0.87, psnr=24.08, psnr_std=4.22, psim=1.07, psim_std=0.36)
