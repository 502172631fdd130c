"""The points at which samples start, from a file: the noise that another program began with."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

import samplers
from experiment.config_files import expand
from experiment.experiment import Experiment


def starting_points(file: str, experiment: Experiment) -> Float[np.ndarray, "n *d"]:
    """Points of the prior [n, ...], from the unit-normal noise in an .npy file [n, ...], images with channels last.

    The file holds draws of N(0, 1), whatever the process: what diffusers' pipelines take as `latents`, and what
    torch.randn gives. A point is the noise times the deviation of the prior (``sde.prior_std``): 1 of a
    variance-preserving process, sigma at t = 1 of VE and EDM; with a scheduler of diffusers what its init_noise_sigma
    is in the scale of x. So one file starts the runs of every process. Those of a generator are the noise itself.

    Raises:
      ValueError: the file is no .npy of floating-point numbers, they are of another shape than points of the prior,
        there are none, or one is not finite.
      OSError: it is not there.
    """
    path, shape = Path(expand(file)), experiment.prior_shape
    noise = _read(path)
    if noise.shape[1:] != shape or noise.ndim != len(shape) + 1 or not len(noise):
        last = "; PyTorch has the channels ahead: transpose (0, 2, 3, 1)" if noise.shape[1:] == _first(shape) else ""
        raise ValueError(
            f"sampling.start: {path} holds an array of shape {noise.shape}; needed is [n, {', '.join(map(str, shape))}]"
            f" with at least one start{last}"
        )
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite, and is refused
        noise = np.array(noise, np.float32)
    if not np.isfinite(noise).all():
        bad = int((~np.isfinite(noise).reshape(len(noise), -1).all(axis=1)).argmax())
        raise ValueError(f"sampling.start: {path} has numbers that are not finite in float32, the first in start {bad}")
    if experiment.generates:
        return noise
    settings = experiment.settings_of(experiment.settings.method)
    return samplers.process_of(experiment.sde, settings).prior_std * noise


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its channels ahead."""
    return (shape[-1], *shape[:-1])


def _read(path: Path) -> np.ndarray:
    """The array, mapped: what claims more than the file holds is refused before memory is taken."""
    try:
        with np.errstate(over="ignore"):  # of the size that a header claims
            noise = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OverflowError) as error:
        raise ValueError(f"sampling.start: {path} cannot be read as an array: {' '.join(str(error).split())}") from None
    if not isinstance(noise, np.ndarray) or noise.dtype.kind != "f":
        what = noise.dtype if isinstance(noise, np.ndarray) else f"{type(noise).__name__} of several arrays"
        raise ValueError(f"sampling.start: {path} is {what}; needed is one array of floating-point numbers, an .npy")
    return noise
