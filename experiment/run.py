"""A trained run in Python: its noise process, its score, its samplers and its likelihood, from its folder or file.

run = experiment.load("runs/digits")  # or "digits", which comes with the project
images = run.sampler("heun", evaluations=19)(jax.random.key(0), 16).x
bits = run.log_likelihood(images)
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped
from ml_collections import ConfigDict

import sde_lib
from autoencoders import CODECS, Codec
from checkpoints import run_file
from conditions.present import PRESENT
from experiment import fields, likelihood, made, pretrained, texts
from experiment.build import build, of_run
from experiment.cascade import Cascade, drawer_of
from experiment.config_files import canonical, from_json
from experiment.experiment import Experiment
from experiment.sampling import Drawer, Drawn, key_of
from experiment.sizes import sized
from experiment.telling import AWAY
from experiment.weights import load_others, load_run
from experiment.workdir import Workdir, differing, flatten
from experiment.writing import replacing
from limits import RandomKey, Text, check, check_known, whole
from models import AUTOENCODERS, CLASSIFIERS, GENERATORS, MATCHERS
from models.materialize import network_call, network_jit

Draw = Callable[..., Drawn]
"""(key, n or z [n, ...], label: None, a class or [n]) -> `Drawn` with x as stored data."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, with the weights of one checkpoint; `load` makes it.

    Attributes:
      experiment: what the config names.
      step: the training step of the checkpoint.
      variables: the weights, averaged or raw.
    """

    experiment: Experiment
    step: int
    variables: dict[str, Any] = dataclasses.field(repr=False)

    @property
    def config(self) -> ConfigDict:
        """The config of the run, with the changes that were asked for."""
        return self.experiment.config

    @property
    def codec(self) -> Codec:
        """Between stored data and the x of the process: ``encode(images, keys)`` and ``decode(x)``."""
        return self.experiment.codec

    @functools.cached_property
    def sde(self) -> sde_lib.AffineSDE:
        """The noise process; a learned schedule as it was trained."""
        return self.experiment.process(self.variables)

    @functools.cached_property
    def belief(self) -> sde_lib.BeliefFn:
        """(x [b, ...], t [b]) -> `Belief` of a model of categories, told nothing else; one network evaluation.

        Samplers over categories take it (`samplers.create_categorical`), and `samplers.infilled` completes by it. It
        may be called alone, or within a compiled program.
        """
        experiment, network = self.experiment, self.experiment.network
        apply = network_call(lambda variables, x, label: network.apply(variables, x, label), network.dtype)
        process: Any = experiment.sde
        return experiment.reading.belief_fn(process, functools.partial(apply, self.variables))

    @functools.cached_property
    def prediction(self) -> sde_lib.PredictFn:
        """(x [b, ...], t [b]) -> `Prediction`, compiled; one network evaluation, without guidance and threshold.

        It may be called alone, or within another compiled program such as a sampler (`samplers.create`).
        It is of a score; a model of categories has `belief`.

        A network that is told where a jump ends takes s [b] too: ``sde_lib.jump_fn(run.sde, run.prediction)`` jumps.
        One of classes is told ``sampling.label`` where that names one, and else no class; one of texts the text of
        ``sampling.prompt`` where that is one, and else no text. Of sets of points all points are there.
        """
        experiment, label = self.experiment, self.experiment.settings.label
        if experiment.generates:
            raise ValueError(
                f"this run is a generator (model.name {self.config.model.name!r}, training.loss "
                f"{self.config.training.loss!r}), which makes data of noise and says no score; draw with its sampler()"
            )
        said = experiment.prompts if len(experiment.prompts) == 1 else ()
        told = experiment.told(0, 1, given=(PRESENT, *made.needed(experiment.conditioner).fields), said=said)
        told = {name: one for name, one in told.items() if name != "label" or label >= 0}

        @network_call
        def predict(variables: dict[str, Any], x: Array, t: Array, *s: Array) -> sde_lib.Prediction:
            condition = experiment.condition({name: jnp.repeat(one, len(x), axis=0) for name, one in told.items()})
            return experiment.predict_fn(variables, condition=condition)(x, t, *s)

        told_end = experiment.parameterization.told_end
        return sde_lib.PredictFn(
            experiment.noising(self.variables), functools.partial(predict, self.variables), told_end
        )

    @property
    def score(self) -> sde_lib.ScoreFn:
        """(x [b, ...], t [b]) -> grad_x log p_t(x): that of `prediction`, and as it is told of classes."""
        return self.prediction.score

    def sampler(self, method: str = "", **options: Any) -> Draw:
        """A sampler, ``draw(key, n, label=None) -> Drawn`` with x as stored data: images as whole levels.

        In place of n it takes points z [n, ...] of the prior. Draws of n are those of ``--mode=sample`` with the key of
        ``eval.seed``. Both are carried `eval.batch_size` at once. A `label` is a class, or one for each sample; None is
        ``sampling.label``. Whatever else the network is told of a sample is given by the name of its field, [n, ...].
        Each number of samples is compiled once. A draw raises a `Failure` where a sample is not finite, and a
        ValueError, before anything is compiled, where the key is none or the number of samples is not at least 1.

        Args:
          method: a name of `samplers.METHODS` or `samplers.SCHEDULERS`; "": the run's own, ``sampling.method``.
          options: fields of the config's section sampling, such as evaluations=20.

        Raises:
          ValueError: a method, an option or a value that is not allowed.
        """
        experiment = self.experiment
        if method or options:
            chosen = {"method": method or self.config.sampling.method, **options}
            chosen |= {"scheduler": options.get("scheduler", "")} if method else {}
            changes = {"sampling": chosen, "eval.samplers": ()}  # which need not go with these options
            experiment = sized(build(_changed(self.config, changes), needs_data=False))
        variables, most = self.variables | load_others(experiment), self.config.eval.batch_size

        @functools.cache
        def drawer(rows: int) -> Drawer | Cascade:
            return drawer_of(experiment, variables, experiment.settings.method, rows)

        def draw(
            key: Key[Array, ""],
            z: int | Float[Array, "b *d"],
            label: int | Int[Array, " b"] | None = None,
            **told: Shaped[Array, "b *d"],
        ) -> Drawn:
            given: Any = z
            n = len(given) if np.ndim(given) else given
            check("the ", {"key": key, "number of samples": n}, {"key": KEY, "number of samples": SAMPLES})
            rows = min(most, int(n))
            of_each = _told(experiment, int(n), label, told, rows)
            if np.ndim(given):
                return drawer(rows).all_from(key, given, of_each)
            return drawer(rows).all_of(key, int(n), of_each)

        return draw

    def log_likelihood(self, images: Shaped[Array, "n *d"], labels: Int[Array, " n"] | None = None) -> np.ndarray:
        """-log2 p of each example in bits/dim [n], by the probability flow, as ``--mode=evaluate`` measures it.

        An example of d numbers with b bits/dim has log p = -b d ln 2 nats. Images are whole levels (uint8), as the
        data set and `sampler` give them; they are dequantised by one draw each, and the bits bound their code length.
        Bits of continuous data are differential. NaN is a solve that did not converge.

        Args:
          images: stored examples; the i-th has the random draws of the i-th test example of an evaluation.
          labels: the classes, of a network that is told of them; None: it is told of none.

        Raises:
          ValueError: no examples, of another shape or type than the data set's, or a consistency model.
        """
        likelihood.check(self.experiment)
        self.codec.bits_offset()
        source, stored = self.experiment.source, np.asarray(images)
        wanted = np.integer if source.levels else np.floating
        if not stored.size or stored.shape[1:] != source.shape or not np.issubdtype(stored.dtype, wanted):
            raise ValueError(
                f"the examples are {stored.dtype} {stored.shape}; needed are [n, *{source.shape}], n at least 1, of "
                f"{f'levels 0 to {source.levels - 1}, as whole numbers' if source.levels else 'floating-point numbers'}"
            )
        n, size = len(stored), min(self.config.eval.batch_size, len(stored))
        key, found = jax.random.fold_in(key_of(self.config.eval.seed, "bits"), 0), []  # of the first dequantisation
        given = {self.experiment.codec.field: stored} | ({} if labels is None else {"label": labels})
        for first in range(0, n, size):
            index = np.minimum(np.arange(first, first + size), n - 1)  # copies fill up the last batch
            batch = {name: jnp.asarray(np.asarray(values)[index]) for name, values in given.items()}
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
            found.append(np.asarray(self._bits(self.variables, batch, keys)["bits"]))
        return np.concatenate(found)[:n]

    def save(self, path: str | os.PathLike) -> None:
        """Write config, step and weights as one file, which `load` and ``--mode=import`` read (`checkpoints.run_file`).

        A file of an earlier `save` is replaced, whole or not at all, and nothing else is.

        Raises:
          ValueError: no path, or a run that needs others or their files, which the file would not hold.
          FileExistsError: something else than a saved run is there.
          OSError: it cannot be written.
        """
        check("the ", {"path": path}, {"path": PATH})
        config, path = self.config, Path(path)
        if path.exists() and not run_file.is_one(path):
            raise FileExistsError(
                f"{path} is {'a folder' if path.is_dir() else 'a file that Run.save has not written'}, and only a file "
                "of Run.save is replaced; give another path, such as mine.safetensors, or move what is there away"
            )
        others = {name: config[name.split(".")[0]].get(name.split(".")[1]) for name in NOT_WITHIN}
        others["data.codec"] = "" if config.data.codec in CODECS else config.data.codec
        if named := [f"{name}={value!r}" for name, value in others.items() if isinstance(value, str) and value]:
            raise ValueError(
                f"a file holds one network, and this run needs others: {', '.join(named)}; keep its folder"
            )
        with replacing(path) as file:
            run_file.save(file.name, config.to_dict(), self.step, self.variables)

    @functools.cached_property
    def _bits(self) -> Callable[..., dict[str, jax.Array]]:
        return network_jit(functools.partial(likelihood.bits, self.experiment), self.experiment.network.dtype)


SAMPLES, KEY = whole(1), RandomKey()
PATH = Text("it must be the path of a folder or of a file, as a text or a pathlib.Path")
NOT_WITHIN = ("sampling.guide", "sampling.upsampler", "data.text_encoder", "data.tokenizer", "sde.betas")
"""Fields that name what a run needs besides its own network; a codec may too."""


def load(
    folder: str | os.PathLike,
    changes: Mapping[str, Any] | None = None,
    *,
    checkpoint: int | None = None,
    ema: bool | None = None,
    ema_std: float | None = None,
    **sections: Mapping[str, Any],
) -> Run:
    """The run in a folder that main.py has trained or imported, in a file of `Run.save`, or one that is shipped.

    Data sets of files and TFDS need not be there, unless the config leaves the size of their images to them.

    Args:
      folder: the --workdir of the run; a file; or a name of `experiment.pretrained.SHIPPED`, such as "digits", unless a
        folder of this name holds a run.
      changes: fields of its config to change, by dotted names: {"sampling.evaluations": 20}.
      checkpoint: the step; None: the newest, or what ``eval.checkpoint`` says.
      ema: whether the weights are the averaged ones; None: as ``eval.ema`` says, True unless changed.
      ema_std: the width of an average that is made of the run's snapshots (`average_snapshots`); 0: the usual one.
      sections: fields to change by section: sampling={"evaluations": 20}.

    Raises:
      ValueError: no path; a folder that holds no run, a classifier, a CLIP or an autoencoder, or a field or value that
        is not allowed; a file that is damaged, or asked for another step or other weights than it holds.
      OSError: no checkpoint, or none of that step; a file that the config names and that is not there.
    """
    check("the ", {"folder": folder}, {"folder": PATH})
    given = pretrained.resolve(folder)
    if given.is_file():
        return _of_file(given, {**(changes or {}), **sections}, checkpoint, ema, ema_std)
    workdir = Workdir(folder)
    if not workdir.config_file.exists():
        raise ValueError(
            f"{workdir.path} holds no run (no config.json); give the folder of a run that was trained or imported, a "
            f"file of Run.save, or the name of {pretrained.named(folder)}"
        )
    chosen = {"eval.checkpoint": checkpoint, "eval.ema": ema, "eval.ema_std": ema_std}
    named = {name: value for name, value in chosen.items() if value is not None}
    return of_config(_changed(workdir.config(), {**(changes or {}), **sections, **named}), workdir)


def of_config(config: ConfigDict, workdir: Workdir) -> Run:
    """The run in a folder, used with this config, which may differ from the saved one in what is not trained.

    Raises:
      ValueError: as `load`.
      OSError: as `load`.
    """
    _check_kind(config, workdir.path)
    experiment = sized(of_run(config, workdir))
    return Run(experiment, *load_run(workdir, experiment.network, config))


def _of_file(
    file: Path, changes: Mapping[str, Any], checkpoint: int | None, ema: bool | None, ema_std: float | None
) -> Run:
    """The run in a file, with these changes of its config."""
    found = run_file.load(file)
    if checkpoint not in (None, -1, found.step) or ema is False or ema_std:
        raise ValueError(
            f"{file} holds the averaged weights of step {found.step} alone, and asked for are checkpoint={checkpoint}, "
            f"ema={ema}, ema_std={ema_std}; leave them out"
        )
    own = from_json(found.config, str(file))
    fields.check(own, str(file))
    config = _changed(own, changes)
    if changed := differing(own, config):
        raise ValueError(
            f"{file} holds a run of another config: {changed}; what its network was trained for cannot change: leave "
            "these fields as they are"
        )
    _check_kind(config, file)
    experiment = sized(build(config, needs_data=False))
    return Run(experiment, found.step, jax.device_put(run_file.fitted(file, experiment.network, found.variables)))


def _check_kind(config: ConfigDict, place: Path) -> None:
    """Refuse, with a ValueError, a config of a network that draws no samples."""
    if config.model.name in (*CLASSIFIERS, *MATCHERS):
        kind = "classifier" if config.model.name in CLASSIFIERS else "CLIP"
        raise ValueError(
            f"{place} holds a {kind} (model.name {config.model.name!r}), which has neither a score nor samples; load "
            f"another run, which it may guide (sampling.guide={os.fspath(place)!r})"
        )
    if config.model.name in AUTOENCODERS and config.model.name not in GENERATORS:
        raise ValueError(
            f"{place} holds an autoencoder (model.name {config.model.name!r}), which has neither a score nor "
            f"samples; experiment.load_autoencoder reads it, and a run that was trained on its latents "
            f"(data.codec={os.fspath(place)!r}) is loaded like any other"
        )


def _changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """The config with these fields, or sections of fields, as the command line would set them."""
    given = flatten(dict(changes))
    texts.check_given(given)
    return canonical(fields.override(config, [(name, str(value)) for name, value in given.items()]))


def _told(
    experiment: Experiment, n: int, label: Any, others: Mapping[str, Any], rows: int = 1
) -> dict[str, np.ndarray] | None:
    """What n samples are drawn of, and those beside them that fill up the last batch of so many rows.

    None is returned where nothing is given, and the experiment says what samples are drawn of.
    """
    drawn = -(-n // rows) * rows
    if label is None and not others:
        return None
    told, upsampler = experiment.told(0, n, given=tuple(others)), experiment.upsampler
    if upsampler and upsampler.reader and not experiment.reads_as(upsampler):
        for name in set(others).intersection(experiment.reader.fields if experiment.reader else ()):
            raise ValueError(f"{name} is given, which sampling.upsampler reads otherwise; set sampling.prompt")
    if label is not None:
        told["label"], classes = np.broadcast_to(label, n), experiment.sampled_classes
        if n and (told["label"].min() < 0 or told["label"].max() >= classes):
            allowed = f"0 to {classes - 1}" if classes else "None: the network takes no classes"
            raise ValueError(f"label is {label}; allowed is {allowed}")
    for name, values in others.items():
        check_known("field that the network is told", name.removeprefix(AWAY), experiment.told_fields)
        if np.shape(values)[:1] != (n,):
            raise ValueError(f"{name} is of shape {np.shape(values)}; needed is one value for each of {n} samples")
    return {name: np.resize(values, (drawn, *np.shape(values)[1:])) for name, values in {**told, **others}.items()}
