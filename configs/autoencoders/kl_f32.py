r"""kl-f32 of latent diffusion's model zoo: KL, 32 times smaller, 64 channels.

Command:  python main.py --mode=import --config=configs/autoencoders/kl_f32.py \
          --workdir=runs/kl_f32 --checkpoint=model.ckpt
          (of kl-f32.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 6 pictures a GPU; one GPU reconstructs.
Expected: rFID 2.04, PSNR 22.27 +- 3.93 behind 406,763 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.kl(
        batch_size=6, ch_mult=(1, 1, 2, 2, 4, 4), z_channels=64, embed_dim=64, attn_resolutions=(16, 8)
    )
    return first_stages.record(config, n_iters=406_763, rfid=2.04, psnr=22.27, psnr_std=3.93, psim=1.41, psim_std=0.4)
