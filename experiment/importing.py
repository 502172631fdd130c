"""A published checkpoint becomes a run of ours: config and weights in a working folder."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from autoencoders import CODECS
from checkpoints import (
    diffusers,
    diffusers_folder,
    glide_clip,
    importing,
    run_file,
    stable_diffusion_file,
    text_folder,
)
from checkpoints.diffusers_scheduler import load_json
from checkpoints.published import Weights
from configs.autoencoders import file as autoencoder_file
from configs.autoencoders import folder as autoencoder_folder
from data.fingerprint import of_facts, of_file
from experiment import fields, inputs, pretrained, text_encoder
from experiment.build import build, network_of
from experiment.config_files import expand, from_json
from experiment.experiment import options_of
from experiment.progress import waiting
from experiment.rules import check_config
from experiment.scheduler import differences, sampling_differences
from experiment.workdir import Workdir, differing

OF_PIPELINE = ""
"""The ``data.codec`` of a config of a whole pipeline: its own autoencoder, in a run that the import makes."""

FOLDERS = {
    "diffusers": ("configs/diffusers/folder.py", "configs/latent/folder.py"),
    "diffusers_text_unet": ("configs/stable_diffusion/folder.py",),
}
"""Formats of folders that may have a scheduler and other networks beside theirs, and the configs that read these."""
SINGLE_FILE = "compvis_unet"
"""The format of files that hold everything."""


def config_in(given: str) -> ConfigDict | None:
    """The config of a run in one file, or of one that is shipped; None of any other format, of which a config is given.

    Raises:
      ValueError: the file is damaged, or of no format that can be imported.
      OSError: it is not there, or cannot be read.
    """
    file = pretrained.resolve(given)
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is not there; give a file or a folder, or the name of {pretrained.named(given)}"
        )
    if run_file.is_one(file):
        return from_json(run_file.load(file).config, str(file))
    if file.is_file():
        try:
            importing.detect(file)  # what is none of the formats is said to be that, with a config or without
        except ValueError as error:
            raise ValueError(f"{error}; or give the name of {pretrained.named(given)}") from None
    return None


def _check_own(config: ConfigDict, file: Path) -> None:
    """Refuse a config in which the weights of a run in one file would mean something else than in its own."""
    if found := differing(config_in(str(file)) or config, config):
        raise ValueError(f"{file} holds a run of another config: {found}; leave --config out: the file has it")


def read_weights(config: ConfigDict, file: Path) -> Weights:
    """The weights in `file`, checked against the config's network; neither needs the data set to be there.

    Raises:
      ValueError: a format that is not known, a pickle that names more than tensors, parameters that do not fit.
      OSError: no such file.
    """
    check_config(config)
    if (kind := importing.detect(file, config.model.name)) in FOLDERS:  # before anything is built
        _check_space(config, file, kind)
        _check_scheduler(config, file, kind)
    if run_file.is_one(file):
        _check_own(config, file)
    with waiting(f"reading {file}"):
        weights = importing.read(file, network_of(config))
    wrapper = weights.metadata.get("preconditioning", config.model.preconditioning)
    if wrapper != config.model.preconditioning:
        raise ValueError(
            f"model.preconditioning is {config.model.preconditioning!r}, and {file} was trained inside {wrapper!r}"
        )
    _check_noise_scales(config, file, weights.metadata)
    _check_scaling(config, file, weights.metadata)
    return weights


def _check_space(config: ConfigDict, folder: Path, kind: str) -> None:
    """Refuse the network of a pipeline of latents for a model of pictures, or of latents of another scale."""
    beside = diffusers.autoencoder_of(folder)
    if beside and config.data.codec in CODECS:
        raise ValueError(
            f"the network of {folder} works on the latents of {beside}, and data.codec is {config.data.codec!r}; take "
            f"--config={FOLDERS[kind][-1]}:{folder}, which reads both"
        )
    written = load_json(beside / "config.json") if beside else {}
    factors = {"scaling_factor": "latent_scale", "shift_factor": "latent_shift"}
    both = [(theirs, written.get(theirs), ours, config.data[ours]) for theirs, ours in factors.items()]
    differing = [
        f"{theirs} {said}, here data.{ours} {given}"
        for theirs, said, ours, given in both
        if said is not None and given is not None and not np.allclose(said, given, rtol=1e-4)
    ]
    if differing:
        raise ValueError(f"the config is not that of {beside}: {'; '.join(differing)}; change it, or leave it at None")


def _check_scaling(config: ConfigDict, file: Path, metadata: dict[str, Any]) -> None:
    """Refuse an autoencoder's scaling factor other than the one kept beside the weights; 0 in the config is unknown."""
    ours, theirs = config.model.get("scaling_factor"), metadata.get("scaling_factor")
    if ours and theirs is not None and not np.isclose(ours, theirs, rtol=1e-4):
        raise ValueError(
            f"{file} holds latents scaled by {theirs:.6g}, and model.scaling_factor is {ours}; set it to that, or to 0 "
            "where it is not known"
        )


def _check_noise_scales(config: ConfigDict, file: Path, metadata: dict[str, Any]) -> None:
    """Refuse a VE config whose range of sigma, or number of noise scales, is not that kept beside the weights."""
    if config.sde.name != "ve":
        return
    ours = {f"sde.{field}": (field, config.sde.get(field)) for field in ("sigma_min", "sigma_max")}
    if not config.training.continuous:
        ours["model.num_scales"] = ("num_scales", config.model.get("num_scales"))
    differing = [
        f"{field} {metadata[field]:.6g}, here {name} {value}"
        for name, (field, value) in ours.items()
        if field in metadata and value is not None and not np.isclose(metadata[field], value, rtol=1e-4)
    ]
    if differing:
        raise ValueError(f"the config is not that of {file}, which holds {'; '.join(differing)}; change the config")


def _check_scheduler(config: ConfigDict, folder: Path, kind: str) -> None:
    """Refuse a config whose noise or prediction is not that of the folder's scheduler; how it samples is only told."""
    scheduler = diffusers.scheduler_of(folder)
    if scheduler is None:
        logging.warning("%s has no scheduler_config.json: noise and prediction are taken from the config", folder)
        return
    if found := differences(config, scheduler):
        raise ValueError(
            f"the config is not that of {scheduler.file}: {'; '.join(found)}; change the config, or take "
            f"--config={FOLDERS[kind][0]}:{folder}, which reads the folder"
        )
    if found := sampling_differences(config, scheduler):
        logging.warning("the config samples otherwise than %s: %s", scheduler.file, "; ".join(found))


def _with_parts(config: ConfigDict, file: Path, workdir: Workdir) -> ConfigDict:
    """The config whose autoencoder and text encoder are those beside the weights, which come to lie in the folder.

    Where they lie there already, they are compared.
    """
    kind = importing.detect(file, config.model.name)
    if config.data.codec in (OF_PIPELINE, str(workdir.path / "codec")):
        config = _with_codec(config, file, kind, workdir)
    if options_of(config).get("text_dim", 0) and config.data.text_encoder in ("", str(workdir.path / "text")):
        config = _with_texts(config, file, kind, workdir)
    return config


def _with_codec(config: ConfigDict, file: Path, kind: str, workdir: Workdir) -> ConfigDict:
    """The config whose codec is a run of the autoencoder beside the weights, which is imported into WORKDIR/codec."""
    if kind == SINGLE_FILE:
        found: Path | None = file
        own = autoencoder_file.get_config(str(file))
    elif found := diffusers.autoencoder_of(file) if kind in FOLDERS else None:
        own = autoencoder_folder.get_config(str(found))
    if found is None:
        raise ValueError(
            f"data.codec is {OF_PIPELINE!r}, which stands for the autoencoder of a pipeline, and {file} holds none; "
            "give it the folder of an autoencoder's run"
        )
    codec = Workdir(workdir.path / "codec")
    import_weights(own, found, codec)
    return fields.override(config, [("data.codec", str(codec.path))])


def _with_texts(config: ConfigDict, file: Path, kind: str, workdir: Workdir) -> ConfigDict:
    """The config whose text encoder is that beside the weights, which is copied, or written, to WORKDIR/text.

    It stays as it is where there is none: what the network is told is given otherwise then.
    """
    write: Callable[[Path], None]
    if kind == SINGLE_FILE:
        name, _, table = config.data.tokenizer.partition(":")
        if name != "clip" or not table:
            raise ValueError(
                f"{file} holds its text encoder and no table of byte pairs; name the folder of CLIP's vocab.json and "
                f"merges.txt: --config.data.tokenizer=clip:FOLDER (it is {config.data.tokenizer!r})"
            )
        write = functools.partial(stable_diffusion_file.write_text, file, expand(table))
    elif found := text_folder.find(diffusers_folder.root_of(file)):
        text_encoder.of_folder("--checkpoint", str(found.path))  # parts that do not fit are named where they lie
        write = functools.partial(text_folder.copy, found)
    else:
        return config
    folder, unfinished = workdir.path / "text", workdir.path / ".text"
    shutil.rmtree(unfinished, ignore_errors=True)  # of an import that was killed
    with waiting("reading the text encoder"):
        write(unfinished)
    if config.data.text_encoder:
        same = _files_in(folder) == _files_in(unfinished)
        shutil.rmtree(unfinished)
        if not same:
            raise ValueError(
                f"{workdir.path} was imported with another text encoder or tokenizer than {file} has; import into "
                "another --workdir"
            )
        return config
    shutil.rmtree(folder, ignore_errors=True)  # a run that has begun names its own
    unfinished.rename(folder)
    return fields.override(config, [("data.text_encoder", str(folder)), ("data.tokenizer", "")])


def _files_in(folder: Path) -> dict[str, str]:
    """The SHA-256 of all files in a folder, by their paths within it."""
    return {str(file.relative_to(folder)): of_file(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def _sha256(file: Path) -> str:
    """The SHA-256 of a file, or of both files of GLIDE's CLIP, which is a folder."""
    return of_facts([of_file(each) for each in glide_clip.files_of(file)]) if file.is_dir() else of_file(file)


def _scheduler_text(file: Path, kind: str) -> str:
    """What the scheduler beside the weights says, as JSON; "" where there is none."""
    scheduler = diffusers.scheduler_of(file) if kind in FOLDERS else None
    return scheduler.text if scheduler else ""


def import_weights(config: ConfigDict, file: Path, workdir: Workdir) -> int:
    """Write the weights as the checkpoint of their step, with the config beside it, and return the step.

    The checkpoint holds raw and averaged weights and no optimiser; training on from it begins with a fresh one.

    Raises:
      ValueError: as `read_weights`, or a working folder of another config or run.
      FileExistsError: another checkpoint of this step.
    """
    config = workdir.completed(config)
    if workdir.config_file.exists():
        workdir.check(config, training=False)
        inputs.check_files(config, workdir)
    config = _with_parts(config, file, workdir)
    weights, kind = read_weights(config, file), importing.detect(file, config.model.name)
    if not config.sampling.scheduler_config:  # so that the run can be sampled as diffusers samples the folder
        config = fields.override(config, [("sampling.scheduler_config", _scheduler_text(file, kind))])
    with workdir.store(read_only=True) as store:
        steps = store.steps()
    if others := [step for step in steps if step != weights.step]:
        raise ValueError(f"{workdir.path} already holds checkpoints of steps {others}; import into another --workdir")
    record = inputs.of_config(config)
    if config.data.codec not in CODECS or config.data.text_encoder:  # which are read whole: a damaged one is found here
        record["files"] |= inputs.frozen_of(build(config, needs_data=False))
    known = {"file": weights.file.name, "format": kind, "sha256": _sha256(weights.file)}
    step, origin = weights.step, weights.metadata | known
    doing = "comparing with" if step in steps else "writing"  # the store leaves alone what is there already
    with waiting(f"{doing} the checkpoint of step {step}"), workdir.store() as store:
        # JAX files average the Fourier frequencies, which are fixed, as well: the raw ones differ by rounding.
        tree = {"step": np.int32(step), **{name: getattr(weights, name) for name in ("params", "ema", "fixed")}}
        try:
            store.save(step, tree, {"imported": origin, "config": config.to_dict()})
        except FileExistsError:
            raise FileExistsError(
                f"{workdir.path} already holds other weights of step {step} than {file}; import into another --workdir"
            ) from None
        del weights, tree  # the store has its own copy, and is still writing
    if not workdir.config_file.exists():
        inputs.write(workdir, record)
        workdir.begin(config)  # last of all: one that was killed before is done again from the beginning
    return step
