"""State dicts of OpenAI's improved- and guided-diffusion, consistency_models and GLIDE: tensors by name.

They are `.pt` files, or `.safetensors`. Nothing in a file says what network it is of: its public README gives the
flags, the config has them as options of `guided_unet`, of `glide` for a file with text embeddings, and every tensor
must find its place there. Two options leave no trace in names or shapes and are taken at the config's word: the number
of heads and the order of attention. All four codes name their tensors alike. A file holds one set of weights, in what
was published the averaged ones.

The noise label is the config's too, `model.noise_label`: "index" for guided-diffusion, whose network is told the index
0 to n - 1; "index_1000" for improved-diffusion, which tells it 1000 / n of that, unless the flags say
rescale_timesteps False. consistency_models' is told 250 log(sigma), which is `model.time_scale` 1000 inside the
preconditioning "consistency", or "edm" for its teachers.

Attention in consistency_models is a convolution over images, not along a sequence, and has the queries of all heads
first, whatever its flag use_new_attention_order says: its code never reads the flag.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from checkpoints import safetensors_file, torch_file
from checkpoints.layout import Place, Variables, check_network, effective_options, fill, places_of
from checkpoints.published import Weights
from models.functional import Network
from models.resolutions import shorter_sides

FIRST = b"time_embed.0.weight"
"""What all of these files name, near their beginning."""


OUTSIDE = {
    "time0": "time_embed.0",
    "time1": "time_embed.2",
    "label": "label_emb",
    "conv_in": "input_blocks.0.0",
    "norm_out": "out.0",
    "conv_out": "out.2",
    "transformer.norm": "final_ln",
    "transformer.project": "transformer_proj",
}
PARTS = {
    "norm0": "in_layers.0",
    "conv0": "in_layers.2",
    "time": "emb_layers.1",
    "norm1": "out_layers.0",
    "conv1": "out_layers.3",
    "shortcut": "skip_connection",
    "norm": "norm",
    "qkv": "qkv",
    "out": "proj_out",
    "text": "encoder_kv",
}
LAYERS = {
    "norm0": "ln_1",
    "qkv": "attn.c_qkv",
    "out": "attn.c_proj",
    "norm1": "ln_2",
    "widen": "mlp.c_fc",
    "narrow": "mlp.c_proj",
}
"""Parts of GLIDE's transformer."""

EMBEDDINGS = {
    "token": "token_embedding.weight",
    "position": "positional_embedding",
    "padding": "padding_embedding",
}


NETWORKS = ("guided_unet", "glide")
"""The network of a file without GLIDE's text embeddings, and of one with them."""

ALONG_SEQUENCE = re.compile(r"\.(qkv|encoder_kv|proj_out)\.")
"""Convolutions along the sequence of pixels; in consistency_models over the image."""


def numbered(module: str, num_res_blocks: int, attends: Sequence[bool]) -> tuple[str, str]:
    """What these files call a block of ours, of a network whose levels attend so, and our name of the part in it.

    Both ways are numbered straight through: on the way down each block, and the halving behind a level's last, has a
    number of its own; on the way up what doubles stands inside the last block's, behind its attention. The convolution
    that halves or doubles has its name there already.
    """
    way, number, *rest = module.split(".")
    if way == "middle":
        return f"middle_block.{number}", ".".join(rest)
    level, each = int(number), num_res_blocks + 1
    if rest[0] == "resize":
        part = rest[1]
        if way == "down":
            return f"input_blocks.{(level + 1) * each}.0", "op" if part == "conv" else part
        return f"output_blocks.{(level + 1) * each - 1}.{1 + attends[-1 - level]}", part
    index = level * each + int(rest[1]) + (way == "down")
    blocks = {"down": "input_blocks", "up": "output_blocks"}[way]
    return f"{blocks}.{index}.{rest[0] == 'attention':d}", ".".join(rest[2:])


def places(network: Network) -> dict[str, Place]:
    """Return where these files keep each of the network's arrays."""
    options = effective_options(network)
    sizes = shorter_sides(options["image_size"], len(options["ch_mult"]))
    attends = [size in options["attn_resolutions"] for size in sizes]

    def inside(module: str) -> str:
        if module.startswith("transformer."):
            _, _, number, layer = module.split(".")
            return f"transformer.resblocks.{number}.{LAYERS[layer]}"
        block, part = numbered(module, options["num_res_blocks"], attends)
        return f"{block}.{PARTS.get(part, part)}"

    def place(module: str, array: str) -> Place:
        if array in EMBEDDINGS:
            return Place(EMBEDDINGS[array])
        theirs = f"{OUTSIDE[module] if module in OUTSIDE else inside(module)}.{array}"
        ones = 1 if ALONG_SEQUENCE.search(theirs) else 2 if "skip_connection" in theirs else 0
        return Place(theirs, ones, table=module == "label")

    return places_of(network, place)


def variables(file: str, network: Network, arrays: Mapping[str, np.ndarray]) -> Variables:
    """The network's variables from a state dict, in float32; `file` is for the messages.

    Raises:
      ValueError: another network than `guided_unet`, or `glide` where there are text embeddings; arrays without a
        place, places without one, other shapes, listed; attention over images for a network with another order of
        attention than such files have.
    """
    over_images = {name for name, array in arrays.items() if ALONG_SEQUENCE.search(name) and array.ndim == 4}
    kind = NETWORKS[any(name in EMBEDDINGS.values() for name in arrays)]
    check_network(file, network, kind, {"attention_order": "new"} if over_images else {})
    given = {name: array[..., 0] if name in over_images else array for name, array in arrays.items()}
    return fill(file, network, places(network), given)


def read(path: str | Path, network: Network) -> Weights:
    """The weights in a file, for the network that the config names.

    Raises:
      ValueError: no state dict, or one that does not fit the network.
      OSError: no such file.
    """
    with open(path, "rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    saved = safetensors_file.load(path) if is_safetensors else torch_file.load(path)
    if not isinstance(saved, dict) or not all(isinstance(array, np.ndarray) for array in saved.values()):
        raise ValueError(f"{path} is no state dict of guided-diffusion, which holds tensors by name and nothing else")
    found = variables(str(path), network, saved)
    return Weights(found["params"], found["params"], found["fixed"], 0, {}, Path(path))
