r"""vq-f8-n256 of latent diffusion's model zoo: 256 codes of 4 numbers, 8 times smaller.

Command:  python main.py --mode=import --config=configs/autoencoders/vq_f8_n256.py \
          --workdir=runs/vq_f8_n256 --checkpoint=model.ckpt
          (of vq-f8-n256.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 10 pictures a GPU; one GPU reconstructs.
Expected: rFID 1.49, PSNR 22.35 +- 3.81 behind 1,608,649 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.vq(
        batch_size=10,
        disc_start=250_001,
        ch_mult=(1, 2, 2, 4),
        z_channels=4,
        embed_dim=4,
        num_codes=256,
        attn_resolutions=(32,),
    )
    return first_stages.record(
        config, n_iters=1_608_649, rfid=1.49, psnr=22.35, psnr_std=3.81, psim=1.26, psim_std=0.37
    )
