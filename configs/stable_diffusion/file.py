r"""A whole Stable Diffusion in a single file of CompVis or Stability (.ckpt, .safetensors): 1, 2 and XL.

The file says little of what it is; what it does not say is taken from the published families
(checkpoints/stable_diffusion_file.py). Of version 2 that is a network that predicts v, for pictures of 768 pixels: for
one of 512 that predicts eps write `FILE,epsilon` and --config.data.image_size=512. No such file holds CLIP's table of
byte pairs: data.tokenizer names a folder with its vocab.json and merges.txt, as the folder tokenizer/ of any Stable
Diffusion of diffusers has them. The import makes a run of the autoencoder in WORKDIR/codec and writes text encoders and
tokenizers to WORKDIR/text. Averaged weights are taken where the file has any.

Command:  python main.py --mode=import --config=configs/stable_diffusion/file.py:FILE --workdir=runs/sd \
          --checkpoint=FILE --config.data.tokenizer=clip:TOKENIZER
          python main.py --mode=sample --workdir=runs/sd --config.sampling.prompt="a red fox in the snow"
Hardware: one GPU; on CPU see docs/text.md.
Expected: what its publisher says of it.
"""

from ml_collections import ConfigDict

from checkpoints import stable_diffusion_file
from configs import hub


def get_config(path: str = "") -> ConfigDict:
    """The config of the file `path`, behind which may stand a comma and what the network predicts, in diffusers' words.

    Raises:
      ValueError: a file that holds no whole Stable Diffusion, or an unknown prediction.
      OSError: no such file.
    """
    if not path:
        raise ValueError("the file is missing; write --config=configs/stable_diffusion/file.py:FILE")
    file, prediction = stable_diffusion_file.named(path)
    whole = stable_diffusion_file.describe(file)
    scheduler = stable_diffusion_file.scheduler(file, whole.family, prediction)
    options = whole.unet | {"image_size": whole.family.image_size // 2 ** (len(whole.autoencoder["ch_mult"]) - 1)}
    config = hub.of_latents(
        "cross_attention_unet", options, scheduler, whole.autoencoder, where=(file, "its autoencoder")
    )
    config.sampling.update(guidance=whole.family.guidance, count=4)
    config.edit.count = 1  # of 512 pixels; eight at once take a large GPU
    config.eval.batch_size = 4
    return config.lock()
