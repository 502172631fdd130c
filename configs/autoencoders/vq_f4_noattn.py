r"""vq-f4-noattn of latent diffusion's model zoo: 8192 codes of 3 numbers, 4 times smaller, without attention.

Command:  python main.py --mode=import --config=configs/autoencoders/vq_f4_noattn.py \
          --workdir=runs/vq_f4_noattn --checkpoint=model.ckpt
          (of vq-f4-noattn.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures
          and the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 8 pictures a GPU; one GPU reconstructs.
Expected: rFID 1.06, PSNR 25.21 +- 4.17 behind 658,131 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.vq(
        batch_size=8, disc_start=11, ch_mult=(1, 2, 4), z_channels=3, embed_dim=3, num_codes=8192, mid_attention=False
    )
    return first_stages.record(config, n_iters=658_131, rfid=1.06, psnr=25.21, psnr_std=4.17, psim=0.72, psim_std=0.26)
