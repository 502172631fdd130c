r"""base.pt of GLIDE (filtered): text to images of 64 pixels, 385,030,726 parameters.

Flags: the defaults of glide-text2im's code. Sampling is that of its notebook on text: 100 of 1000 steps, ancestral with
the learned variance, guidance 3.

Command:  python main.py --mode=import --config=configs/glide/base.py --workdir=runs/glide_base --checkpoint=base.pt
Hardware: one GPU samples it.
Expected: no number was published of this file. FID 12.24 on MS-COCO (published) is of the network of 3.5 B.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.glide(image_size=64, schedule="cosine", guidance=3.0)
    config.sampling.steps = 99
    return config
