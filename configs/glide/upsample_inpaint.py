r"""upsample_inpaint.pt of GLIDE (filtered): 64 to 256 pixels of which some are known, 398,368,198 parameters.

Flags: the upsampler's defaults of glide-text2im's code, and inpaint. Sampling is that of its notebook on inpainting:
the 27 levels "fast27", ancestral with the learned variance, noise of deviation 0.997, without guidance.

Command:  python main.py --mode=import --config=configs/glide/upsample_inpaint.py \
          --workdir=runs/glide_upsample_inpaint --checkpoint=upsample_inpaint.pt
Hardware: one GPU samples it.
Expected: no number was published of this file.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    options = {"ch_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2, "upsampling": 4, "inpaint": True}
    return openai.upsampled(openai.glide(image_size=256, schedule="linear", **options), "ancestral")
