r"""lsun_uncond_100M_1200K_bs128.pt of improved-diffusion: LSUN bedroom at 256 pixels, 113.7 M parameters.

Flags: improved-diffusion's README, and the defaults of its code; the index as it is (rescale_timesteps False).
`lsun_uncond_100M_2400K_bs64.pt`, of a fifth of the learning rate, is the same network on the same chain.

Command:  python main.py --mode=import --config=configs/guided/improved_lsun_bedroom_256.py \
          --workdir=runs/improved_lsun_bedroom_256 --checkpoint=lsun_uncond_100M_1200K_bs128.pt
Hardware: one GPU samples it.
Expected: no number was published of this file.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.improved(
        image_size=256,
        schedule="linear",
        num_scales=1000,
        ch_mult=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attn_resolutions=(16,),
        num_heads=1,
        scale_shift=False,
    )
    config.model.noise_label = "index"
    config = openai.lsun(config, "bedroom")
    config.training.n_iters = 1_200_000
    return config
