"""Text towers of CLIP and OpenCLIP: folders of transformers, and state dicts, alone or within a larger file.

A folder holds config.json beside model.safetensors or pytorch_model.bin, or is that of a pipeline whose `text_encoder/`
does; XL's second tower is in `text_encoder_2/`. A state dict says nothing of the heads and the activation; published
towers have a head for 64 features. Two layouts of names are known, and what a name begins with is found by its table of
tokens:

  transformers   `text_model.encoder.layers.0.self_attn.q_proj`; today's code saves some towers without `text_model.`
  OpenAI's       `transformer.resblocks.0.attn.in_proj_weight`, whose rows are those of query, key and value; OpenCLIP
                 has the same names. The projection is used as x @ P there, transposed against transformers'.

In single files of Stable Diffusion names begin with `cond_stage_model.transformer.` (1), `cond_stage_model.model.` (2)
or, in XL's with two towers, `conditioner.embedders.0.` and `.1.`. Version 2 looks at the layer before the last one of
its tower, through the final norm, so its tower is described here without the last layer, as folders of diffusers
store it.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from checkpoints import compvis
from checkpoints.diffusers_folder import load_weights, save_folder
from checkpoints.diffusers_scheduler import load_json
from checkpoints.layout import Place, Variables, check_network, effective_options, fill, places_of, spill
from checkpoints.published import Weights
from models import TEXT_ENCODERS
from models.functional import Network
from models.transformer import ACTIVATIONS, EPSILON

NAME = "text_encoder"
FOLDERS = ("", "text_encoder", "text_encoder_2")
FILES = {"safetensors": "model", "pickle": "pytorch_model"}
HEAD = 64
"""Features of a head in every published tower."""
LEGACY_END = 2
"""What `eos_token_id` is in configs whose towers pool at the largest number."""

CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")
DEFAULTS: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": EPSILON,
    "eos_token_id": 49407,
}
"""What transformers takes where config.json does not say."""

TABLE = "token_embedding.weight"
EMBEDDINGS = "embeddings."
BUFFERS = ("embeddings.position_ids", "attn_mask")
"""What old files hold that is no weight."""
SECOND = "cond_stage_model.model."
"""What the names of Stable Diffusion 2's tower begin with, in a single file."""

PARTS = {
    "norm0": "layer_norm1",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "norm1": "layer_norm2",
    "widen": "mlp.fc1",
    "narrow": "mlp.fc2",
}
OPENAI_PARTS = {
    "norm0": "ln_1",
    "query": "attn.in_proj.query",
    "key": "attn.in_proj.key",
    "value": "attn.in_proj.value",
    "out": "attn.out_proj",
    "norm1": "ln_2",
    "widen": "mlp.c_fc",
    "narrow": "mlp.c_proj",
}
"""Our names of a layer's parts, and theirs; OpenAI's one matrix of query, key and value is taken apart by `apart`."""


class Tower(NamedTuple):
    """A text tower among the names of a file.

    Attributes:
      prefix: what its names begin with.
      openai: whether they go on as OpenAI's, or as transformers'.
    """

    prefix: str
    openai: bool

    @property
    def outside(self) -> str:
        """What the name of its projection begins with, which transformers keeps outside the tower."""
        return self.prefix if self.openai else self.prefix.removesuffix("text_model.")

    @property
    def projection(self) -> str:
        """The name of its projection."""
        return f"{self.outside}text_projection{'' if self.openai else '.weight'}"

    def layer(self, number: int) -> str:
        """What the names of a layer begin with."""
        return f"{self.prefix}{'transformer.resblocks' if self.openai else 'encoder.layers'}.{number}."


def towers(names: Iterable[str]) -> list[Tower]:
    """The text towers among the names of tensors, in the order of their prefixes."""
    tables = sorted(name.removesuffix(TABLE) for name in names if name.endswith(TABLE))
    return [Tower(p.removesuffix(EMBEDDINGS), not p.endswith(EMBEDDINGS)) for p in tables]


def places(network: Network, tower: Tower) -> dict[str, Place]:
    """Return where a file keeps each array of a text tower."""
    return places_of(network, functools.partial(in_tower, tower))


def in_tower(tower: Tower, module: str, array: str) -> Place:
    """Return where a file keeps an array of the module of that name in `models.text_encoder.TextEncoder`."""
    prefix, openai = tower.prefix, tower.openai
    if not module:
        return Place(
            {
                "token": f"{prefix}{'' if openai else EMBEDDINGS}{TABLE}",
                "position": f"{prefix}{'positional_embedding' if openai else 'embeddings.position_embedding.weight'}",
            }[array]
        )
    if module == "projection":
        return Place(tower.projection, table=openai)  # as ours, [in, out]
    if module == "norm":
        return Place(f"{prefix}{'ln_final' if openai else 'final_layer_norm'}.{array}")
    _, _, number, part = module.split(".")
    return Place(f"{tower.layer(int(number))}{(OPENAI_PARTS if openai else PARTS)[part]}.{array}")


def apart(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, OpenAI's rows of query, key and value each by a name of its own: `attn.in_proj.query.weight`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if joined := re.fullmatch(r"(.*\.attn\.in_proj)_(weight|bias)", name):
            parts = zip(("query", "key", "value"), np.split(array, 3), strict=True)
            found |= {f"{joined[1]}.{part}.{joined[2]}": rows for part, rows in parts}
        else:
            found[name] = array
    return found


def network_options(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a config.json of transformers.

    Raises:
      ValueError: a network that has no counterpart here; the message lists every field that is in the way.
    """
    given = DEFAULTS | dict(config)
    counts = (*(field for field, value in DEFAULTS.items() if type(value) is int and field != "eos_token_id"),)
    wrong = [f"{f} is {given[f]!r}, not a number above 0" for f in counts if type(given[f]) is not int or given[f] < 1]
    if type(given["eos_token_id"]) is not int:
        wrong.append(f"eos_token_id is {given['eos_token_id']!r}, not a number")
    kinds = given.get("architectures") or CLASSES[:1]
    if len(kinds) != 1 or kinds[0] not in CLASSES:
        wrong.append(f"architectures are {kinds!r}, not one of {', '.join(CLASSES)}")
    if given["hidden_act"] not in ACTIVATIONS:
        wrong.append(f"hidden_act is {given['hidden_act']!r}, not {' or '.join(map(repr, ACTIVATIONS))}")
    if given["layer_norm_eps"] != EPSILON:
        wrong.append(f"layer_norm_eps is {given['layer_norm_eps']!r}, not {EPSILON}")
    if wrong:
        raise ValueError(f"this text encoder of transformers has no counterpart here: {'; '.join(wrong)}")
    end, width = given["eos_token_id"], given["hidden_size"]
    return NAME, {
        "vocabulary": given["vocab_size"],
        "tokens": given["max_position_embeddings"],
        "text_width": width,
        "text_layers": given["num_hidden_layers"],
        "text_heads": given["num_attention_heads"],
        "text_mlp": None if given["intermediate_size"] == 4 * width else given["intermediate_size"],
        "activation": given["hidden_act"],
        "projection_dim": given["projection_dim"] if kinds[0] == CLASSES[1] else 0,
        "end_token": None if end == LEGACY_END else end,
    }


def state_dict_options(
    arrays: Mapping[str, np.ndarray], tower: Tower, *, heads: int | None = None
) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a tower in a single file of Stable Diffusion; None: heads as published.

    Towers with OpenAI's names in these files are OpenCLIP's.

    Raises:
      ValueError: a tensor that is missing, or a width that says nothing of the heads.
    """
    needed = ("", "token"), ("", "position"), ("transformer.layers.0.widen", "weight")
    layout = [in_tower(tower, module, array) for module, array in needed]
    if missing := [place.name for place in layout if place.name not in arrays]:
        raise ValueError(f"there is no whole text encoder of CLIP: {', '.join(missing)} is missing")
    (vocabulary, width), (tokens, _), (mlp, _) = (arrays[place.name].shape for place in layout)
    if heads is None and width % HEAD:
        raise ValueError(f"a text encoder {width} wide has no whole heads of {HEAD} features: say how many it has")
    layers = 1
    while any(name.startswith(tower.layer(layers)) for name in arrays):
        layers += 1
    second, projection = tower.prefix == SECOND, arrays.get(tower.projection)
    return NAME, {
        "vocabulary": vocabulary,
        "tokens": tokens,
        "text_width": width,
        "text_layers": layers - second,
        "text_heads": heads or width // HEAD,
        "text_mlp": None if mlp == 4 * width else mlp,
        "activation": "gelu" if tower.openai else "quick_gelu",
        "projection_dim": 0 if projection is None or second else projection.shape[tower.openai],
        "end_token": None,
    }


def variables(file: str, network: Network, tower: Tower, arrays: Mapping[str, np.ndarray]) -> Variables:
    """The network's variables from the tower's tensors among a file's, in float32; `file` is for the messages.

    A network without a projection leaves that of the file alone, and Stable Diffusion 2's the last layer.

    Raises:
      ValueError: tensors without a place, places without one, other shapes, listed.
    """
    options = effective_options(network)
    inside: tuple[str, ...] = ("",)
    if tower.openai:
        inside = (TABLE, "positional_embedding", "transformer.", "ln_final.")
    left = [tower.prefix + name for name in BUFFERS]
    left += [] if options["projection_dim"] else [tower.projection]
    left += [tower.layer(options["text_layers"])] if tower.prefix == SECOND else []
    own = {
        name: array
        for name, array in arrays.items()
        if name.startswith((*(tower.prefix + part for part in inside), tower.projection))
        and not name.startswith(tuple(left))
    }
    return fill(file, network, places(network, tower), apart(own))


def find(path: str | Path) -> Path | None:
    """The folder in which the tower's config.json lies: `path` or a pipeline's; None where there is none."""
    for folder in (Path(path) / name for name in FOLDERS):
        if (folder / "config.json").exists():
            kinds = load_json(folder / "config.json").get("architectures")
            if isinstance(kinds, list) and set(kinds) & set(CLASSES):
                return folder
    return None


def describe(path: str | Path) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a folder of transformers, or for the first tower of a single file.

    Raises:
      ValueError: a network that has no counterpart here, or a file without a text tower.
      OSError: nothing there.
    """
    if not Path(path).is_dir():
        arrays = _state_dict(path)
        return state_dict_options(arrays, _first(path, arrays))
    folder = _folder(path)
    try:
        return network_options(load_json(folder / "config.json"))
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None


def read(path: str | Path, network: Network) -> Weights:
    """The weights in a folder of transformers, or of the first text tower of a file, for the network that is named.

    The heads and the activation of a file's tower are taken at the network's word.

    Raises:
      ValueError: another network than a text encoder, none in the file, or weights that do not fit.
      OSError: nothing there.
    """
    if network.name not in TEXT_ENCODERS:
        raise ValueError(f"{path} is read for the text encoder in it, and model.name is {network.name!r}")
    if Path(path).is_dir():
        folder = _folder(path)
        check_network(str(folder), network, *describe(folder))
        file, arrays = load_weights(folder, **FILES)
    else:
        file, arrays = Path(path), _state_dict(path)
    found = variables(str(file), network, _first(file, arrays), arrays)
    return Weights(found["params"], found["params"], found["fixed"], 0, {}, file)


def config_of(network: Network) -> dict[str, Any]:
    """The config.json of one of our text towers."""
    options = effective_options(network)
    width, projection, end = options["text_width"], options["projection_dim"], options["end_token"]
    return DEFAULTS | {
        "architectures": [CLASSES[bool(projection)]],
        "model_type": "clip_text_model",
        "vocab_size": options["vocabulary"],
        "hidden_size": width,
        "intermediate_size": options["text_mlp"] or 4 * width,
        "projection_dim": projection or width,
        "num_hidden_layers": options["text_layers"],
        "num_attention_heads": options["text_heads"],
        "max_position_embeddings": options["tokens"],
        "hidden_act": options["activation"],
        "eos_token_id": LEGACY_END if end is None else end,
    }


def write(path: str | Path, network: Network, variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a text tower and its variables {"params", "fixed"} as a folder for from_pretrained of transformers.

    Raises ValueError for another network, or variables that are not the network's.
    """
    if network.name not in TEXT_ENCODERS:
        raise ValueError(f"folders of text encoders hold a {NAME}, and this is a {network.name}")
    arrays = spill(network, places(network, Tower("text_model.", False)), variables)
    save_folder(path, arrays, {"config.json": config_of(network)}, FILES["safetensors"])


def _folder(path: str | Path) -> Path:
    if folder := find(path):
        return folder
    raise FileNotFoundError(
        f"{path} holds no text encoder of transformers: there is no config.json of {' or '.join(CLASSES)} in it or in "
        f"{' or '.join(f'{name}/' for name in FOLDERS if name)}"
    )


def _state_dict(path: str | Path) -> dict[str, np.ndarray]:
    return {name: array for name, array in compvis.load(path).items() if isinstance(array, np.ndarray)}


def _first(file: str | Path, arrays: Mapping[str, np.ndarray]) -> Tower:
    if found := towers(arrays):
        return found[0]
    raise ValueError(f"{file} holds no text encoder of CLIP: no tensor's name ends with {TABLE}")
