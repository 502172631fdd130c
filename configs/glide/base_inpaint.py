r"""base_inpaint.pt of GLIDE (filtered): text to what a mask leaves out of 64 pixels, 385,037,638 parameters.

Flags: the defaults of glide-text2im's code, and inpaint. Sampling is that of its notebook on inpainting: 100 of 1000
steps, ancestral with the learned variance, guidance 5.

Command:  python main.py --mode=import --config=configs/glide/base_inpaint.py --workdir=runs/glide_base_inpaint \
          --checkpoint=base_inpaint.pt
Hardware: one GPU samples it.
Expected: no number was published of this file.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    config = openai.glide(image_size=64, schedule="cosine", guidance=5.0, inpaint=True)
    config.sampling.steps = 99
    return config
