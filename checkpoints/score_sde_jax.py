"""The published JAX checkpoints of score_sde: `checkpoint_N`, flax msgpack, of either group-norm layout."""

from pathlib import Path
from typing import Any

from flax import serialization

from checkpoints.published import Weights, listed
from checkpoints.score_sde import from_jax
from models.functional import Network


def read(path: str | Path, network: Network) -> Weights:
    """The averaged and the raw weights, and the step.

    Raises:
      ValueError: not such a file, or parameters that do not fit the network, listed.
    """
    saved = _restore(path)
    ema = from_jax(network, saved["params_ema"], str(path))
    raw = from_jax(network, saved["optimizer"]["target"], str(path))
    return Weights(
        ema=ema["params"],
        params=raw["params"],
        fixed=ema["fixed"],
        step=int(saved["step"]),
        metadata={"ema_decay": float(saved.get("ema_rate", 0))},
        file=Path(path),
        raw_fixed=raw["fixed"],
    )


def _restore(path: str | Path) -> dict[str, Any]:
    """msgpack is data only: nothing in it can run."""
    data = Path(path).read_bytes()
    try:
        saved = serialization.msgpack_restore(data)
    except Exception as error:  # msgpack's own exceptions, and those of arrays that are cut short
        detail = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not a flax msgpack file: {type(error).__name__}: {detail}") from None
    if not isinstance(saved, dict) or not {"params_ema", "optimizer", "step"} <= saved.keys():
        keys = listed(map(str, saved)) if isinstance(saved, dict) else f"a {type(saved).__name__}"
        raise ValueError(f"{path} holds {keys}; a published score-SDE checkpoint holds params_ema, optimizer, step")
    return saved
