r"""upsample.pt of GLIDE (filtered): 64 to 256 pixels, told the text, 398,361,286 parameters.

Flags: the upsampler's defaults of glide-text2im's code. Sampling is that of its notebook on text: the 27 levels
"fast27", DDIM, noise of deviation 0.997, without guidance.

Command:  python main.py --mode=import --config=configs/glide/upsample.py --workdir=runs/glide_upsample \
          --checkpoint=upsample.pt
Hardware: one GPU samples it.
Expected: no number was published of this file.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    options = {"ch_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2, "upsampling": 4}
    return openai.upsampled(openai.glide(image_size=256, schedule="linear", **options), "ddim")
