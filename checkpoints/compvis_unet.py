"""Text-conditional U-Nets in single files of CompVis and Stability: Stable Diffusion 1, 2 and XL, latent diffusion.

Tensors of the U-Net have names that begin with `model.diffusion_model.`; what else a file holds (the autoencoder, text
encoders, schedules, Lightning's objects) is left alone, but for the embedding of a class-conditional model's classes,
`cond_stage_model.embedding`. Averaged weights, where there are any, stand in it as `model_ema.` and the name without
its dots. Nothing says what network it is: every tensor must find its place in that of the config. The number of heads
leaves no trace in names or shapes and is taken at the config's word.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import compvis, guided_diffusion, safetensors_file
from checkpoints.diffusers_text_unet import NETWORK, TRANSFORMER, as_projection, of_transformer, with_projections
from checkpoints.layout import Place, effective_options, fill, places_of, spill
from checkpoints.published import Weights
from models.functional import Network

PREFIX = "model.diffusion_model."
LABEL = "cond_stage_model.embedding.weight"
ADDED = {"added0": "label_emb.0.0", "added1": "label_emb.0.2"}


def places(network: Network) -> dict[str, Place]:
    """Return where these files keep each of the network's arrays."""
    options = effective_options(network)
    attends = [depth > 0 for depth in options["depths"]]
    outside = guided_diffusion.OUTSIDE | ADDED

    def place(module: str, array: str) -> Place:
        if module == "label":
            return Place(LABEL, table=True)
        if module in outside:
            return Place(f"{PREFIX}{outside[module]}.{array}")
        block, part = guided_diffusion.numbered(module, options["num_res_blocks"], attends)
        named = of_transformer(part) if TRANSFORMER.fullmatch(module) else guided_diffusion.PARTS.get(part, part)
        return as_projection(f"{PREFIX}{block}.{named}.{array}", network)

    return places_of(network, place)


def read(path: str | Path, network: Network) -> Weights:
    """The U-Net in a file, for the network that the config names.

    Raises:
      ValueError: another network than a `cross_attention_unet`, a file without one, or weights that do not fit.
      OSError: no such file.
    """
    if network.name != NETWORK:
        raise ValueError(f"{path} is read for the {NETWORK} in it, and the config's model.name is {network.name!r}")
    saved = compvis.load(path)
    where = places(network)
    told = {place.name for place in where.values()} & {LABEL}
    raw = {name: array for name, array in saved.items() if name.startswith(PREFIX) or name in told}
    variables = fill(str(path), network, where, with_projections(raw, network))
    averaged = compvis.averages(raw, saved, within="model.")
    average = variables
    if averaged:  # of the diffusion model alone
        average = fill(f"{path} ({compvis.AVERAGE})", network, where, with_projections(raw | averaged, network))
    return Weights(average["params"], variables["params"], variables["fixed"], saved["global_step"], {}, Path(path))


def write(path: str | Path, network: Network, variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a U-Net and its variables {"params", "fixed"} as a `.safetensors` file with these names.

    Raises:
      ValueError: another network than a `cross_attention_unet`, or variables that are not the network's.
    """
    if network.name != NETWORK:
        raise ValueError(f"files of CompVis' U-Nets hold a {NETWORK}, and this is a {network.name}")
    arrays = spill(network, places(network), variables)
    safetensors_file.save(path, {name: np.ascontiguousarray(array) for name, array in arrays.items()})
