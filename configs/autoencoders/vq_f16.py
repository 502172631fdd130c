r"""vq-f16 of latent diffusion's model zoo: 16384 codes of 8 numbers, 16 times smaller.

Command:  python main.py --mode=import --config=configs/autoencoders/vq_f16.py \
          --workdir=runs/vq_f16 --checkpoint=model.ckpt
          (of vq-f16.zip, or a folder of diffusers), or --mode=train with --config.data.path=FOLDER of pictures and
          the weights of LPIPS (eval.vgg16, eval.lpips_heads).
Hardware: published with 14 pictures a GPU; one GPU reconstructs.
Expected: rFID 5.15, PSNR 20.83 +- 3.61 behind 1,101,166 steps (published).
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.vq(
        batch_size=14,
        disc_start=250_001,
        disc_layers=2,
        ch_mult=(1, 1, 2, 2, 4),
        z_channels=8,
        embed_dim=8,
        num_codes=16384,
        attn_resolutions=(16,),
    )
    return first_stages.record(
        config, n_iters=1_101_166, rfid=5.15, psnr=20.83, psnr_std=3.61, psim=1.73, psim_std=0.43
    )
