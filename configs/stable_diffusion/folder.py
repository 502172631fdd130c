r"""Any folder of diffusers' Stable Diffusion pipelines: 1, 2, XL and what was tuned from them, and inpainting networks.

It describes itself: the U-Net by unet/config.json; noise, prediction and sampler by scheduler/scheduler_config.json;
the autoencoder and the text encoders by their own files. The import makes a run of the autoencoder in WORKDIR/codec and
copies text encoders and tokenizers to WORKDIR/text, so the folder is not needed afterwards. A safety checker is left
where it is. Weights in half precision (*.fp16.*) and in several files are read too.

Command:  python main.py --mode=import --config=configs/stable_diffusion/folder.py:FOLDER \
          --workdir=runs/sd --checkpoint=FOLDER
          python main.py --mode=sample --workdir=runs/sd --config.sampling.prompt="a red fox in the snow"
Hardware: one GPU; on CPU see docs/text.md.
Expected: what its publisher says of it.
"""

from ml_collections import ConfigDict

from checkpoints import (
    diffusers,
    diffusers_autoencoder,
    diffusers_folder,
    diffusers_text_unet,
    text_encoder,
    text_folder,
)
from configs import hub

GUIDANCE, GUIDANCE_XL = 7.5, 5.0
"""What the pipelines of diffusers take where nothing is said."""


def get_config(path: str = "") -> ConfigDict:
    """The config of the folder `path`; ValueError or OSError, which name file and field, where it has none."""
    if not path:
        raise ValueError("the folder is missing; write --config=configs/stable_diffusion/folder.py:FOLDER")
    name, options = diffusers_text_unet.describe(path)
    root, beside = diffusers_folder.root_of(path), diffusers.autoencoder_of(path)
    scheduler = diffusers.scheduler_of(path)
    texts = text_folder.find(root)
    if scheduler is None or beside is None or texts is None:
        parts = {"scheduler/": scheduler, "vae/": beside, "text_encoder/": texts}
        lacking = " and ".join(part for part, there in parts.items() if there is None)
        raise ValueError(f"{root} lacks {lacking}, without which its network cannot be run; fetch the whole folder")
    if not scheduler.is_chain:
        raise ValueError(f"{scheduler.file} is a {scheduler.name}, whose network is told sigma, and {path} an index")
    of_texts = [text_encoder.describe(part.tower)[1] for part in texts.parts]
    made = {"text_dim": sum(each["text_width"] for each in of_texts)}
    made["pooled_dim"] = of_texts[-1]["projection_dim"] if texts.pooled else 0
    for option, features in made.items():
        if options[option] not in (0, features):
            raise ValueError(
                f"{path}: the network is told {options[option]} features of a text ({option}), and the text encoders "
                f"of {root} make {features}"
            )
    _, autoencoder = diffusers_autoencoder.describe(beside)
    config = hub.of_latents(name, options, scheduler, autoencoder, where=(path, beside))
    config.sampling.update(guidance=GUIDANCE_XL if options["pooled_dim"] else GUIDANCE, count=4)
    config.edit.count = 1  # of 512 pixels; eight at once take a large GPU
    config.eval.batch_size = 4
    return config.lock()
