r"""vq-f8 of latent diffusion's model zoo: 16384 codes of 4 numbers, 8 times smaller.

Command:  python main.py --mode=import --config=configs/autoencoders/vq_f8.py \
          --workdir=runs/vq_f8 --checkpoint=model.ckpt
          (of vq-f8.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 10 pictures a GPU; one GPU reconstructs.
Expected: rFID 1.14, PSNR 23.07 +- 3.99 behind 971,043 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.vq(
        batch_size=10,
        disc_start=1,
        disc_weight=0.6,
        disc_layers=2,
        ch_mult=(1, 2, 2, 4),
        z_channels=4,
        embed_dim=4,
        num_codes=16384,
        attn_resolutions=(32,),
    )
    return first_stages.record(config, n_iters=971_043, rfid=1.14, psnr=23.07, psnr_std=3.99, psim=1.17, psim_std=0.36)
