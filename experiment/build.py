"""The builder makes the objects that a config names and checks them; it compiles nothing."""

import dataclasses
import inspect
import os
from typing import Any, cast

import numpy as np
from ml_collections import ConfigDict

import data
import samplers
import sde_lib
from autoencoders import CODECS, Categories, Codec, GreyLevels, Latents
from configs import default
from experiment import fields, inputs, ranges, rules, texts
from experiment.autoencoder import RunAutoencoder
from experiment.experiment import Experiment, generates, image_shape, num_scales
from experiment.readers import reader_of
from experiment.schedule import joined
from experiment.scheduler import check_sampler
from experiment.weights import load
from experiment.workdir import Workdir
from limits import Sides, sides
from models import AUTOENCODERS, MODELS
from models.functional import Network, Variables
from samplers.settings import GENERATOR

EMA_FIELDS = default.EMA_FIELDS


def _source(config: ConfigDict) -> data.Source:
    """The data set of ``config.data``."""
    return data.create(config.data.dataset, **_options_of_source(config))


def _options_of_source(config: ConfigDict) -> dict[str, Any]:
    """The data set's own options: the keys of ``config.data`` that no other field has."""
    options = {key: value for key, value in config.data.items() if f"data.{key}" not in ranges.FIELDS}
    kind = config.data.dataset.partition(":")[0]
    if kind in data.SOURCES:
        known = inspect.signature(data.SOURCES[kind]).parameters
        options |= {
            key: config.data[key] for key in ("image_size", "num_channels") if key in known and key in config.data
        }
    return options


def network(config: ConfigDict, sde: Any, shape: tuple[int, ...], num_categories: int | None = None) -> Network:
    """The network of ``config.model``, whose keys are its options, but for those that say how it is used.

    Its x have this shape, and of categories there are so many, besides the mask of a process that has one.
    """
    own = ("name", *default.USES)
    options = {key: value for key, value in config.model.items() if key not in own}
    takes = inspect.signature(MODELS[config.model.name].__init__).parameters if config.model.name in MODELS else ()
    scales = num_scales(config)
    if scales:
        sde_lib.NoiseLevels(sde, scales)
        if "num_scales" not in takes:
            del options["num_scales"]
    given: dict[str, Any] = {"shape": shape, "centered": config.data.centered, "num_categories": num_categories}
    if config.sde.name in sde_lib.OVER_CATEGORIES:
        given["masked"] = sde.mask is not None
    if len(shape) == 3:  # of images, and of the latents of these
        given |= {"image_size": shape[0] if shape[0] == shape[1] else shape[:2], "num_channels": shape[2]}
    options |= {name: value for name, value in given.items() if name in takes}
    return joined(Network.create(config.model.name, **options), sde)


def process(config: ConfigDict, codec: Codec | None = None) -> Any:
    """The noise process of ``config.sde``; one over categories has those of the codec, or 2 where none is given."""
    if config.sde.name not in sde_lib.OVER_CATEGORIES:
        return sde_lib.create(**config.sde)
    return sde_lib.create_categorical(**config.sde, categories=(codec and categories_of(codec)) or 2)


def categories_of(codec: Codec) -> int | None:
    """The number of categories of x; None where x is no category."""
    return codec.num_categories if isinstance(codec, Categories) else codec.levels


def network_of(config: ConfigDict) -> Network:
    """The network of a config; the data set need not be there where the config gives the images' size."""
    shape = image_shape(config)
    if shape is None:
        return build(config).network
    rules.check_config(config)
    codec = _codec(config, _stand_in(config, shape))
    return network(config, process(config, codec), codec.shape, categories_of(codec))


def _codec(config: ConfigDict, source: data.Source) -> Codec:
    """The codec of ``config.data`` for this data set: a named one, or that of an autoencoder's run."""
    name, dequantization = config.data.codec, "uniform" if config.data.uniform_dequantization else "none"
    if name in CODECS:
        return CODECS[name](source, config.data.centered, dequantization)
    levels = GreyLevels.of_source(source, config.data.centered, dequantization)
    if not name or not Workdir(name).config_file.exists():
        raise ValueError(
            f"data.codec is {name!r}, which holds no run (no config.json); it must be {' or '.join(CODECS)}, or the "
            "folder of an autoencoder's run"
        )
    run = of_folder("data.codec", name)
    rules.check(rules.of_codec(config, source, run))
    chosen = {"scale": config.data.latent_scale, "shift": config.data.latent_shift}
    return _latents(run, name, levels, step=config.data.codec_checkpoint, tile=config.data.latent_tile, **chosen)


def _latents(
    run: Experiment, folder: str, pictures: GreyLevels, *, step: int, tile: int, scale: Any, shift: Any
) -> Latents:
    """The codec of an autoencoder's run for such pictures; its weights are read when they are first needed."""

    def weights() -> Variables:
        with Workdir(folder).store(read_only=True) as store:
            return load(store, run.network, ema=True, step=step)[1]

    own = {"scale": run.config.model.get("scaling_factor", 0.0), "shift": run.config.model.get("shift_factor", 0.0)}
    chosen = {
        name: own[name] if value is None and own["scale"] else value
        for name, value in {"scale": scale, "shift": shift}.items()
    }
    autoencoder = RunAutoencoder(run.network, weights, cast(Any, pictures.shape), tile)
    autoencoder.shape  # noqa: B018  (pictures of a size that it does not take are refused here)
    return Latents(pictures, autoencoder, **chosen)


def load_autoencoder(
    folder: str | os.PathLike, *, image_size: Sides | None = None, checkpoint: int = -1, tile: int = 0
) -> Latents:
    """The codec of a run that has trained an autoencoder, or holds an imported one.

    ``codec.of_pictures(codec.pictures.encode(images))`` are the latents x of stored pictures (uint8), at the means of
    their posteriors, and ``codec.decode(x)`` the stored pictures of latents. They are scaled and shifted by the run's
    ``model.scaling_factor`` and ``model.shift_factor``; where these are not known, as of a training, they are left
    as they are.

    Args:
      folder: the --workdir of the run.
      image_size: one side, or (height, width), of the pictures; None: of those that it was trained on.
      checkpoint: the step, whose averaged weights are taken; -1: the newest.
      tile: how many latents a side are decoded at once (`autoencoders.tiles`); 0: all.

    Raises:
      ValueError: a folder that holds no run, or another than an autoencoder's; a size that it does not take.
      OSError: no checkpoint, or none of that step.
    """
    run = of_folder("the folder", os.fspath(folder))
    if not run.compresses:
        raise ValueError(
            f"{folder} holds a run of model.name {run.config.model.name!r}, which is no autoencoder "
            f"({', '.join(AUTOENCODERS)}); experiment.load reads the others"
        )
    shape = run.codec.shape if image_size is None else (*sides(image_size), run.codec.shape[2])
    pictures = dataclasses.replace(cast(GreyLevels, run.codec), shape=shape)
    codec = _latents(run, os.fspath(folder), pictures, step=checkpoint, tile=tile, scale=None, shift=None)
    scale, shift = (one if given is None else given for one, given in ((1.0, codec.scale), (0.0, codec.shift)))
    return dataclasses.replace(codec, scale=scale, shift=shift)


def _stand_in(config: ConfigDict, shape: tuple[int, ...]) -> data.Source:
    """A source without examples, of images of that shape with the 256 levels that files and TFDS hold."""
    empty = data.Arrays({"image": np.zeros((0, *shape), np.uint8)})
    return data.Source(config.data.dataset, empty, empty, shape, 256, config.model.get("label_dim", 0))


def build(config: ConfigDict, *, needs_data: bool = True) -> Experiment:
    """Make everything that the config names, and check it.

    Args:
      config: the whole config.
      needs_data: whether the examples are needed; if not, a data set of files or of TFDS may be absent.

    Raises:
      ValueError: a name, an option or a value is not allowed; the message says which are.
      OSError: the data set is not there.
    """
    rules.check_config(config)
    if config.sampling.scheduler:  # with its own steps, which need not go with other samplers
        config = fields.override(config, [("eval.samplers", repr((config.sampling.scheduler,)))])
    sde, settings = process(config), samplers.Settings(**config.sampling)
    rules.check(rules.of_noise(config, sde))
    of_method = samplers.create_categorical if config.sde.name in sde_lib.OVER_CATEGORIES else samplers.create
    for method in () if generates(config) else dict.fromkeys((settings.method, *config.eval.samplers)):
        if method in samplers.SCHEDULERS:
            check_sampler(config, method)
        try:
            of_method(sde, lambda x, t: x, dataclasses.replace(settings, method=method))
        except ValueError as error:
            if method == settings.method:
                raise
            raise ValueError(f"{error} ({method!r} is one of eval.samplers; take others there)") from error
    shape, outside = image_shape(config), config.data.dataset.partition(":")[0] in ("tfds", "folder")
    source = None if needs_data else data.without_files(config.data.dataset, **_options_of_source(config))
    if source is None:
        source = _stand_in(config, shape) if shape and outside and not needs_data else _source(config)
    rules.check(rules.of_data(config, source))
    reader = reader_of(config, source)
    guide = of_folder("sampling.guide", config.sampling.guide) if config.sampling.guide else None
    rules.check(rules.of_texts(config, reader, guide))
    if reader:
        train, test = (texts.Read(records, reader) for records in (source.train, source.test))
        source = dataclasses.replace(source, train=train, test=test)
    codec = _codec(config, source)
    sde = process(config, codec)
    made = network(config, sde, codec.shape, categories_of(codec))
    reads = reader or (guide and guide.matches)
    asked = [texts.prompts_of(config.sampling[name], f"sampling.{name}") for name in ("prompt", "negative_prompt")]
    experiment = Experiment(config, sde, source, codec, made, settings, guide, reader, *(asked if reads else ()))
    if guide:
        rules.check(rules.of_guide(experiment, guide))
    if config.sampling.upsampler:
        experiment = dataclasses.replace(experiment, upsampler=_upsampler(config, needs_data=needs_data))
        rules.check(rules.of_upsampler(experiment))
    rules.check(rules.of_prompts(experiment))
    rules.check(rules.of_samplers(experiment, {settings.method}))
    return experiment


def of_run(config: ConfigDict, workdir: Workdir, *, needs_data: bool = False) -> Experiment:
    """What `build` makes of the config of a run, after a comparison with what the run was begun with.

    Raises:
      ValueError: as `build`; or there is no run in the folder, or it was begun with another config, other classes or
        symbols, or other contents of a file that the config names.
      OSError: as `build`, or such a file is not there.
    """
    config = workdir.completed(config)
    workdir.check(config, training=False)
    inputs.check_files(config, workdir)
    experiment = build(config, needs_data=needs_data)
    inputs.check_classes(experiment, workdir)
    inputs.check_alphabet(experiment, workdir)
    inputs.check_frozen(experiment, workdir)
    rules.check(rules.of_known_latents(experiment))
    return experiment


def _upsampler(config: ConfigDict, *, needs_data: bool) -> Experiment:
    """The run of ``sampling.upsampler``, sampled as its own config says, but for what is drawn or edited.

    It is evaluated, and edits, as this config says.

    Raises:
      ValueError: the folder holds no run, a run enlarges its own enlargements, or as `of_run`.
      OSError: as `of_run`.
    """
    folder, seen = config.sampling.upsampler, list[str]()
    while folder:
        run = Workdir(folder)
        if not run.config_file.exists():
            raise ValueError(f"sampling.upsampler is {folder!r}, which holds no run (no config.json)")
        if os.path.realpath(run.path) in seen:
            raise ValueError(
                f"sampling.upsampler is {folder!r}, which would enlarge what it has enlarged; name it once"
            )
        seen.append(os.path.realpath(run.path))
        folder = run.config().sampling.upsampler
    folder = config.sampling.upsampler
    own = Workdir(folder).config()
    with own.ignore_type(), own.unlocked():
        own.eval = config.eval.copy_and_resolve_references()
        own.eval.samplers = ()
        own.edit = config.edit.copy_and_resolve_references()
        own.edit.inpaint_strength = 1.0  # it begins with what it enlarges, whatever that began with
        own.sampling.update(prompt="", label=-1, start="", height=0, width=0)
        own.sampling.keep_latents = config.sampling.keep_latents
    try:
        return of_run(own, Workdir(folder), needs_data=needs_data)
    except ValueError as error:
        raise ValueError(f"sampling.upsampler {folder!r}: {error}") from error


def of_folder(field: str, folder: str) -> Experiment:
    """What `build` makes of the run in a folder that this field of a config names, which serves another run.

    How that run was sampled and evaluated does not matter. Its data need not be there.

    Raises:
      ValueError: the folder holds no run, its config is damaged, or a file that it names has changed since.
    """
    run = Workdir(folder)
    if not run.config_file.exists():
        raise ValueError(f"{field} is {folder!r}, which holds no run (no config.json)")
    saved, config = run.config(), default.get_config()
    with config.unlocked():
        for section in ("sde", "model", "data", "training"):
            config[section] = saved[section]
        if generates(config):
            config.sampling.method, config.eval.samplers = GENERATOR, (GENERATOR,)
    inputs.check_files(config, run)
    experiment = build(config, needs_data=False)
    inputs.check_frozen(experiment, run)
    return experiment
