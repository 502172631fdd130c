r"""64x64_diffusion.pt of guided-diffusion: ImageNet at 64 pixels, class-conditional, 296 M parameters.

Flags: guided-diffusion's README, and the defaults of its code.

Command:  python main.py --mode=import --config=configs/guided/imagenet_64_cond.py \
          --workdir=runs/imagenet_64_cond --checkpoint=64x64_diffusion.pt
Hardware: one GPU samples it.
Expected: FID 2.07, precision 0.74, recall 0.63 (published).
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.guided(
        image_size=64,
        schedule="cosine",
        nf=192,
        ch_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        dropout=0.1,
        attention_order="new",
        label_dim=1000,
    )
    config.training.batch_size = 2048
    config.training.n_iters = 540_000
    config.optim.lr = 3e-4
    return openai.record(config, fid=2.07, precision=0.74, recall=0.63)
