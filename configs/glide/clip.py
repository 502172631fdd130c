r"""clip_text_enc.pt and clip_image_enc.pt of GLIDE: the CLIP of noisy images of 64 pixels, which guides base.pt.

The sizes are those of its code; what a file says of them must agree. Its texts are read as OpenAI's CLIP reads them, by
the table bpe_simple_vocab_16e6.txt in TABLE.

Commands: python main.py --mode=import --config=configs/glide/clip.py --workdir=runs/glide_clip --checkpoint=FOLDER \
              --config.data.tokenizer=openai:TABLE
          python main.py --mode=sample --workdir=runs/glide_base --config.sampling.guide=runs/glide_clip \
              --config.sampling.guidance=3 --config.sampling.prompt="an oil painting of a corgi"
Hardware: one GPU samples it.
Expected: no number was published of these files.
"""

from ml_collections import ConfigDict

from configs import openai


def get_config() -> ConfigDict:
    return openai.clip(image_size=64, schedule="cosine")
