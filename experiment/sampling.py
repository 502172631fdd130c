"""Samples of an experiment: batch after batch of points of the prior, carried to data by a sampler of its network.

The sampler follows the network's predictions: as it is told of each example, guided, and kept in range.
"""

import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped
from tqdm import tqdm

import samplers
import sde_lib
from conditions import Condition, marked, only_present
from conditions.present import PRESENT
from experiment.errors import Failure
from experiment.experiment import Experiment
from experiment.generators import generator, prior_of
from experiment.placing import on_devices, on_each
from experiment.processes import is_leader
from experiment.progress import waiting
from experiment.telling import GUIDE
from models.materialize import network_jit
from samplers.classifier import classifier_guided
from samplers.guidance import autoguidance, classifier_free

UPSAMPLER = "upsampler_"
"""Ahead of the names of the variables of the run that enlarges the samples, and of all that serves it."""
TOKENS_OF_GUIDE = f"{GUIDE}tokens"
"""The field of what samples are drawn of that a CLIP reads, which guides them."""

Told = Mapping[str, Any]
"""What samples are drawn of: fields of records [b, ...] by name, such as "label"."""


class Drawn(NamedTuple):
    """Samples as stored data [n, ...], the evaluations spent on each [n], and the seconds of all without compiling.

    The seconds of a batch run from its call, or from the end of the batch before where that was later, until the host
    sees the samples on the device. So those of several add up to the time that they took, whatever the host did
    meanwhile. With ``sampling.keep_latents`` the x of the process [n, ...] from which the samples were decoded stay
    beside them. `small` are those of which a cascade has enlarged them (`experiment.cascade`); evaluations and seconds
    are then of all stages together.
    """

    x: Shaped[np.ndarray, "n *d"]
    evaluations: Shaped[np.ndarray, " n"]
    seconds: float
    latents: Shaped[np.ndarray, "n *d2"] | None = None
    small: "Drawn | None" = None

    def first(self, n: int) -> "Drawn":
        """The first n of them."""
        latents, small = self.latents, self.small
        kept = None if latents is None else latents[:n]
        return Drawn(self.x[:n], self.evaluations[:n], self.seconds, kept, small and small.first(n))

    def of(self, small: "Drawn | None") -> "Drawn":
        """They as enlargements of these, or themselves where there are none."""
        if small is None:
            return self
        spent, seconds = self.evaluations + small.evaluations, self.seconds + small.seconds
        return self._replace(evaluations=spent, seconds=seconds, small=small)


class Begun(NamedTuple):
    """A batch that the devices are at work on.

    Attributes:
      began: when it was begun, of `time.perf_counter`.
      out: its samples.
      reconstructed: the floats of the stored data that they stand for (`Codec.reconstruct`).
      told: what they are drawn of.
    """

    began: float
    out: samplers.Samples
    reconstructed: Any
    told: Told


class Drawer:
    """A sampler of one method, compiled once for batches of one size and type, which are spread over the devices.

    Batch i of a key is the same whoever draws it: a command or Python, alone or with other processes.
    """

    def __init__(
        self, experiment: Experiment, variables: dict[str, Any], method: str, batch_size: int, *, what: str = ""
    ):
        """The drawer of that method; `what` names its samples in progress bars, and is the method where it is empty."""
        self.experiment, self.method, self.size, self.what = experiment, method, batch_size, what or method
        self.variables, sde = on_each(variables, batch_size), experiment.process(variables)
        prior = prior_of(experiment, method)
        self._prior = jax.jit(lambda key: prior(key, batch_size))
        self._sampler: Any = network_jit(
            lambda v, key, z, told: sampler(experiment, v, method, sde, told)(key, z), experiment.network.dtype
        )
        self._compiled: dict[str, Callable[..., samplers.Samples]] = {}
        self.free = 0.0  # when the last batch that was fetched ended, of `time.perf_counter`

    def all_of(self, key: Key[Array, ""], n: int, told: Told | None = None) -> Drawn:
        """The n samples of a key; `told` is of as many as whole batches hold, None: what the experiment says."""
        return self._batches(n, lambda i, own: self.start(key, i, own), told)

    def all_from(self, key: Key[Array, ""], z: Float[Array, "n *d"], told: Told | None = None) -> Drawn:
        """The samples of these points of the prior, with `told` as in `all_of`.

        The key is that of the way to data; where it takes several batches, batch i has ``fold_in(key, i)``.
        """
        keys = [key] if len(z) <= self.size else [jax.random.fold_in(key, i) for i in range(-(-len(z) // self.size))]

        def start(i: int, own: Told | None) -> Begun:
            points = z[i * self.size : (i + 1) * self.size]
            whole = points if len(points) == self.size else np.resize(points, (self.size, *z.shape[1:]))
            return self.carry(keys[i], jnp.asarray(whole), i, own)

        return self._batches(len(z), start, told)

    def _batches(self, n: int, start: Callable[[int, Told | None], Begun], told: Told | None) -> Drawn:
        batches, parts = -(-n // self.size), []
        for i in tqdm(range(batches), desc=self.what, unit="batch", disable=batches == 1 or not is_leader()):
            own = None if told is None else {name: of[i * self.size : (i + 1) * self.size] for name, of in told.items()}
            begun = start(i, own)
            with waiting(f"drawing {self.size} samples with {self.what}"):
                parts.append(self.fetch(begun))
        x, evaluations, seconds, latents, _ = zip(*parts, strict=True)
        kept = np.concatenate(latents)[:n] if self.experiment.config.sampling.keep_latents else None
        return Drawn(np.concatenate(x)[:n], np.concatenate(evaluations)[:n], sum(seconds), kept)

    def start(self, key: Key[Array, ""], i: int, told: Told | None = None) -> Begun:
        """Begin batch i for `fetch`. The host need not wait for it, and the next may begin before it is fetched."""
        key_prior, key_path = keys_of_batch(key, i)
        return self.carry(key_path, self._prior(key_prior), i, told)

    def carry(self, key: Key[Array, ""], z: Float[Array, "b *d"], i: int = 0, told: Told | None = None) -> Begun:
        """Begin with these points of the prior, as batch i, for `fetch`."""
        told = self.experiment.told(i * self.size, self.size) if told is None else told
        began, out = self.follow(key, z, i, told)
        return Begun(began, out, self.experiment.codec.reconstruct(out.x), told)

    def follow(
        self, key: Key[Array, ""], z: Float[Array, "b *d"], i: int = 0, told: Told | None = None
    ) -> tuple[float, samplers.Samples]:
        """When batch i was begun with these points of the prior, and its samples, which nobody decodes."""
        told = self.experiment.told(i * self.size, self.size) if told is None else told
        arguments = self.variables, key, on_devices(z), jax.tree.map(on_devices, dict(told))
        kind = str(jax.tree.map(jax.typeof, arguments[1:]))  # a compiled program takes arguments of one type alone
        if kind not in self._compiled:
            with waiting(f"compiling {self.what}"):
                self._compiled[kind] = self._sampler.lower(*arguments).compile()
                jax.block_until_ready(self.experiment.codec.reconstruct(arguments[2]))
        return time.perf_counter(), self._compiled[kind](*arguments)

    def fetch(self, begun: Begun) -> Drawn:
        """The batch that was begun; batches are fetched in the order in which they were begun.

        Raises:
          Failure: a sample is not finite.
        """
        began, out, reconstructed, told = begun
        jax.block_until_ready(reconstructed)
        ended = time.perf_counter()
        seconds, self.free = ended - max(began, self.free), ended
        x = np.asarray(out.x)
        if not np.isfinite(x).all():
            remedy = self.experiment.settings_of(self.method).remedy
            raise Failure(f"samples of {self.what} are not finite; {remedy}")
        kept = x if self.experiment.config.sampling.keep_latents else None
        stored = decoded(self.experiment, x, np.asarray(reconstructed), told)
        return Drawn(stored, np.asarray(out.evaluations), seconds, kept)


def decoded(experiment: Experiment, x: np.ndarray, reconstructed: np.ndarray, told: Told) -> np.ndarray:
    """Samples as stored data, at the host; absent points of sets are NaN.

    Args:
      experiment: the run that has drawn them.
      x: what was drawn, [n, ...].
      reconstructed: the floats of the stored data that x stands for (`Codec.reconstruct`).
      told: what they were drawn of.
    """
    codec = experiment.codec
    stored = codec.decode(x) if experiment.of_categories else codec.pictures.decode(reconstructed)
    return marked(np.asarray(stored), told)


def key_of(seed: int, purpose: str) -> Key[Array, ""]:
    """The random key of a sampler or of a measure, whatever else is evaluated."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def keys_of_batch(key: Key[Array, ""], i: int) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """The keys of batch i of a set of samples, that of its points of the prior and that of its way to data."""
    key_prior, key_path = jax.random.split(jax.random.fold_in(key, i))
    return key_prior, key_path


def sampler(
    experiment: Experiment,
    variables: dict[str, Any],
    method: str,
    sde: sde_lib.AffineSDE | None = None,
    told: Told | None = None,
    *,
    trajectory: bool = False,
) -> Callable[[Key[Array, ""], Float[Array, "b *d"]], samplers.Samples]:
    """The sampler of that name with the experiment's settings, for examples of which the network is `told` this.

    `sde` is ``experiment.process(variables)``, made outside where the variables are traced: solvers take their tables
    from a noise schedule of concrete numbers. Absent points of sets are 0 where it begins and where it ends. With
    `trajectory` it keeps every state, as `samplers.create` does.
    """
    sde = sde or experiment.process(variables)
    draw = _sampler(experiment, variables, method, sde, told, trajectory)

    def of_present(key: Key[Array, ""], z: Float[Array, "b *d"]) -> samplers.Samples:
        drawn = draw(key, only_present(z, told))
        return drawn._replace(x=only_present(drawn.x, told))

    return of_present if PRESENT in (told or {}) else draw


def _sampler(
    experiment: Experiment,
    variables: dict[str, Any],
    method: str,
    sde: sde_lib.AffineSDE,
    told: Told | None,
    trajectory: bool,
) -> Callable[[Key[Array, ""], Float[Array, "b *d"]], samplers.Samples]:
    """The sampler, whatever it makes of absent points."""
    settings = experiment.settings_of(method)
    if experiment.generates:
        return generator(experiment, variables, settings)
    if experiment.of_categories:
        process: Any = sde
        belief = beliefs(experiment, variables, settings, told)
        return samplers.create_categorical(process, belief, settings, trajectory=trajectory)
    says = _said_by_guide(experiment, variables, settings, sde, told)
    if says is None or not settings.takes_guide:
        return samplers.create(sde, guided(experiment, variables, settings, sde, told), settings, trajectory=trajectory)
    process = experiment.noising(variables, chain=settings.on_chain, sde=sde)
    interval = {"low": settings.guidance_low, "high": settings.guidance_high}
    gradient = samplers.classifier_guide(process, says, settings.guidance_scale, **interval)
    unmoved = guided(experiment, variables, settings, sde, told, moved=False)
    return samplers.create(sde, unmoved, settings, guide=gradient, trajectory=trajectory)


def _said_by_guide(
    experiment: Experiment,
    variables: dict[str, Any],
    settings: samplers.Settings,
    sde: sde_lib.AffineSDE,
    told: Told | None,
    start: float = 1.0,
) -> sde_lib.LogProbFn | None:
    """What a guide says of samples at (x, t), whose gradient leads them; None of one that leads by its score, or none.

    A classifier says how likely the class of each is, and a CLIP how well each fits its text.

    Raises:
      ValueError: the guide reads texts, and the samples have none.
    """
    guide, told = experiment.guide, told or {}
    if not guide or guide.denoises:
        return None
    numbers = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}
    how: dict[str, Any] = {"chain": settings.on_chain, "sde": samplers.process_of(sde, settings, start)}
    if guide.classifies:
        return guide.log_prob_fn(numbers, told.get("label"), **how)
    if TOKENS_OF_GUIDE not in told:
        raise ValueError(
            f"sampling.guide {settings.guide!r} reads the text of each sample, and these have none: give each its "
            f"{TOKENS_OF_GUIDE}"
        )
    return guide.agreement_fn(numbers, told[TOKENS_OF_GUIDE], **how)


def beliefs(
    experiment: Experiment,
    variables: dict[str, Any],
    settings: samplers.Settings,
    told: Told | None,
    start: float = 1.0,
) -> sde_lib.BeliefFn:
    """What a network of categories says of what it is told, guided away from what it says told nothing, or a guide.

    The sampler that takes it has these settings, and starts at `start`.
    """
    process: Any = samplers.process_of(experiment.sde, settings, start)
    scale, guide, told = settings.guidance_scale, experiment.guide, told or {}
    condition = experiment.condition(told)
    wanted = experiment.belief_fn(variables, condition=condition, process=process)
    if scale == 1.0 or (condition is None and guide is None):
        return wanted
    if guide:
        of_guide = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}
        other = guide.belief_fn(of_guide, condition=guide.condition(told), process=process)
    else:
        other = experiment.belief_fn(variables, condition=experiment.untold(told), process=process)
    return samplers.logits_guided(process, wanted, other, scale)


def guided(
    experiment: Experiment,
    variables: dict[str, Any],
    settings: samplers.Settings,
    sde: sde_lib.AffineSDE,
    told: Told | None,
    start: float = 1.0,
    *,
    moved: bool = True,
) -> sde_lib.PredictFn:
    """The network's predictions, at the levels that the settings ask for, of what it is told, guided and thresholded.

    The settings are those that are carried out (`samplers.settled`), and `start` is where their sampler starts. The
    gradient of a classifier or of a CLIP moves the predictions; they are not `moved` by it for a sampler that is given
    the gradient itself.
    """
    chain, guide, scale, told = settings.on_chain, experiment.guide, settings.guidance_scale, told or {}
    along = samplers.process_of(sde, settings, start)
    process = sde_lib.NoiseLevels(along, experiment.num_scales, exact=chain) if experiment.num_scales else along
    condition = experiment.condition(told)
    of_guide = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}
    interval = {"low": settings.guidance_low, "high": settings.guidance_high}
    model_config = experiment.config.model
    output = model_config.prediction if model_config.preconditioning == "none" else "eps"
    rescaled: dict[str, Any] = {**interval, "rescale": settings.guidance_rescale, "output": output}

    def model(x: Array, t: Array, condition: Condition) -> sde_lib.Prediction:
        return experiment.predict_fn(variables, chain=chain, condition=condition, sde=along)(x, t)

    predict = experiment.predict_fn(variables, chain=chain, condition=condition, sde=along)
    says = _said_by_guide(experiment, variables, settings, sde, told, start) if moved else None
    if says is not None:
        predict = classifier_guided(process, predict, says, scale, **interval)
    elif guide and guide.denoises:
        weak = guide.predict_fn(of_guide, chain=chain, condition=guide.condition(told), sde=along)
        predict = autoguidance(process, predict, weak, scale, **rescaled)
    elif not guide and scale != 1.0 and condition is not None:
        none = experiment.untold(told)
        predict = classifier_free(process, model, condition, none, scale, **rescaled)
    low, quantile = -1.0 if experiment.codec.centered else 0.0, settings.threshold_quantile
    return samplers.thresholded(process, predict, settings.thresholding, quantile=quantile, low=low)
