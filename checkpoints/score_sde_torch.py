"""The published PyTorch checkpoints of score_sde_pytorch: `checkpoint_N.pth`."""

from pathlib import Path

import numpy as np

from checkpoints import torch_file
from checkpoints.published import Weights, listed
from checkpoints.score_sde import Flat, check_published, from_torch
from models.functional import Network


def read(path: str | Path, network: Network) -> Weights:
    """The averaged and the raw weights of a `.pth` of {model, ema, step, ...}.

    Raises:
      ValueError: not such a file, or parameters that do not fit the network, listed.
    """
    check_published(network)
    saved = torch_file.load(path)
    raw, ema = split(saved, str(path))
    averaged = from_torch(network, ema, str(path))
    del ema
    of_raw = from_torch(network, raw, str(path))
    return Weights(
        ema=averaged["params"],
        params=of_raw["params"],
        fixed=averaged["fixed"],
        step=int(saved.get("step", 0)),
        metadata={"ema_decay": float(saved["ema"].get("decay", 0)), **_noise_scales(saved["model"])},
        file=Path(path),
    )


def _noise_scales(model: dict) -> dict[str, float]:
    """SMLD's noise scales as the networks keep them, a buffer that falls from sigma_max to sigma_min; {} without one.

    Networks of VP have it too, where it means nothing.
    """
    found = [np.asarray(value) for name, value in model.items() if name.rpartition(".")[2] == "sigmas"]
    if not found or found[0].ndim != 1 or len(found[0]) < 2:
        return {}
    return {"sigma_min": float(found[0][-1]), "sigma_max": float(found[0][0]), "num_scales": len(found[0])}


def split(saved: dict, file: str) -> tuple[Flat, Flat]:
    """(raw, averaged) weights by their published names.

    The averages are a list in the order of the trained parameters: all but the buffer `sigmas` and the Fourier
    frequencies, which are taken from the model.
    """
    if not isinstance(saved, dict) or not isinstance(saved.get("model"), dict) or "ema" not in saved:
        keys = listed(map(str, saved)) if isinstance(saved, dict) else f"a {type(saved).__name__}"
        raise ValueError(f"{file} holds {keys}; a published score-SDE checkpoint holds model, ema, optimizer and step")
    model: Flat = {name: value for name, value in saved["model"].items() if name.rpartition(".")[2] != "sigmas"}
    trained = [name for name in model if not name.endswith("all_modules.0.W")]
    shadow = saved["ema"]["shadow_params"]
    if len(trained) != len(shadow):
        raise ValueError(f"{file}: {len(shadow)} averaged parameters beside {len(trained)} trained ones")
    for name, value in zip(trained, shadow, strict=True):
        if np.shape(value) != model[name].shape:
            raise ValueError(f"{file}: the average of {name} is {np.shape(value)}, the parameter {model[name].shape}")
    return model, model | dict(zip(trained, shadow, strict=True))
