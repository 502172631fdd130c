"""The published JAX checkpoints of score_sde and consistency_models_cifar10: `checkpoint_N`, flax msgpack.

score_sde's hold either group-norm layout, and the raw weights inside the optimiser. consistency_models_cifar10, which
grew out of that code, has the raw weights beside the averaged ones, and embeds log(sigma) / 4 as it comes: that is
`edm_unet`, where `ncsnpp` would take the logarithm of it. Its target network and optimiser are left unread.
"""

from pathlib import Path
from typing import Any

from flax import serialization

from checkpoints.layout import check_network
from checkpoints.published import Weights, listed
from checkpoints.score_sde import check_published, from_jax
from models.functional import Network


def read(path: str | Path, network: Network) -> Weights:
    """The averaged and the raw weights, and the step.

    Raises:
      ValueError: not such a file, or parameters that do not fit the network, listed.
    """
    saved = _restore(path)
    if "params" in saved:
        check_network(str(path), network, "edm_unet", {})
    else:
        check_published(network)
    ema = from_jax(network, saved["params_ema"], str(path))
    raw = from_jax(network, saved["params"] if "params" in saved else saved["optimizer"]["target"], str(path))
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
    keys = saved.keys() if isinstance(saved, dict) else set()
    if not {"params_ema", "step"} <= keys or not {"optimizer", "params"} & keys:
        held = listed(map(str, keys)) if keys else f"a {type(saved).__name__}"
        raise ValueError(
            f"{path} holds {held}; a published score-SDE checkpoint holds params_ema, optimizer, step, and one of "
            "consistency_models_cifar10 params in place of the optimizer"
        )
    return saved
