"""A run depends on more than its config: on its data set and the files that the config names, by their content.

A config says where these lie, not what they are. So the folder of a run holds ``inputs.json``: of the training and the
test set how many examples they have and their fingerprint, the names of the classes in their order, what the symbols of
a text stand for, and the SHA-256 of each named file. A run is continued, and used, with these and no others. One that
has no such record yet (an older one, or an imported one of which the data are not known) is given it when it is trained
on.
"""

import json
from collections.abc import Mapping
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from autoencoders import Latents
from data import Source
from data.fingerprint import of_file, of_records
from experiment import config_files
from experiment.experiment import Experiment
from experiment.ranges import FIELDS
from experiment.text_encoder import FrozenReader
from experiment.workdir import Workdir, write_text

SHOWN = 3  # classes that one line names

Inputs = dict[str, Any]
"""``{"files": {field: SHA-256}, "data": {"train": {"examples", "fingerprint"}, "test": ..., "classes": [...]}}``.

Of a text "data" has what `Alphabet.about` says too, as "alphabet".
"""


def checked(experiment: Experiment, workdir: Workdir, weights: Mapping[str, str] | None = None) -> Inputs:
    """What this training depends on, after a comparison with what the run was begun with, if it has begun.

    Args:
      experiment: the training.
      workdir: its folder.
      weights: the SHA-256 of the weights of others that it learns from, by the fields that name their folder or file.

    Raises:
      ValueError: a named file, such weights, or the data set unless ``data.changed`` is "accept", is not what it was.
      OSError: a file cannot be read.
    """
    check_files(experiment.config, workdir)
    check_weights(weights or {}, workdir)
    files = of_config(experiment.config)["files"] | dict(weights or {})
    now = {"files": files, "data": _of_source(experiment.source)}
    then = _read(workdir).get("data")
    differences = _differences(then, now["data"]) if then else []
    if differences and experiment.config.data.changed != "accept":
        raise ValueError(
            f"the data set {experiment.source.name!r} is not what {workdir.path} was trained on: "
            f"{'; '.join(differences)}; restore it, train in another --workdir, or go on with it as it is now "
            "(--config.data.changed=accept)"
        )
    if differences:
        logging.warning("data.changed is 'accept', and the run goes on with changed data: %s", "; ".join(differences))
    return now


def write(workdir: Workdir, inputs: Inputs) -> None:
    """Record them with the run, unless that is what is recorded; what they leave out stays as it was."""
    known = _read(workdir)
    if known | inputs != known:
        write_text(workdir.inputs_file, json.dumps(known | inputs, indent=2, sort_keys=True) + "\n")


def data_of(workdir: Workdir) -> dict[str, Any] | None:
    """The "data" of a run's record (see `Inputs`); None where it has none.

    Raises:
      ValueError: the record is damaged.
    """
    return _read(workdir).get("data")


def of_config(config: ConfigDict) -> Inputs:
    """The inputs of a run that are known without its data set: the file of numbers that its process may be made of."""
    betas = config.sde.get("betas")
    return {"files": {"sde.betas": of_file(betas)} if isinstance(betas, str) else {}}


def frozen_of(experiment: Experiment) -> dict[str, str]:
    """The SHA-256 of the weights of what stands frozen around the network, by the fields that name their folders.

    That is the autoencoder whose latents are modelled, and the text encoder whose features it is told.
    """
    codec, reader = experiment.codec, experiment.reader
    found = {"data.codec": codec.about()["autoencoder"]["weights"]} if isinstance(codec, Latents) else {}
    return found | ({"data.text_encoder": reader.weights_digest} if isinstance(reader, FrozenReader) else {})


def check_frozen(experiment: Experiment, workdir: Workdir) -> None:
    """Refuse, with a ValueError, autoencoder or text encoder with other weights than those of the run's beginning."""
    check_weights(frozen_of(experiment), workdir)


def check_weights(weights: Mapping[str, str], workdir: Workdir) -> None:
    """Refuse, with a ValueError, weights of another run that are not those with which this one was begun.

    They are given by their SHA-256, by the field that names the folder of that run.
    """
    recorded = _read(workdir).get("files", {})
    for field, digest in weights.items():
        if digest != recorded.get(field, digest):
            checkpoint = f"{field}_checkpoint"
            mend = f"name their checkpoint ({checkpoint})" if checkpoint in FIELDS else "restore the file"
            raise ValueError(
                f"{field}: the weights that it names are not those with which {workdir.path} was begun (their SHA-256 "
                f"was {recorded[field]!s:.12}, and is {digest[:12]}); {mend}, or use another --workdir"
            )


def check_files(config: ConfigDict, workdir: Workdir) -> None:
    """Refuse, with a ValueError, a file that the config names and that has changed since the run was begun."""
    recorded = _read(workdir).get("files", {})
    for field, digest in of_config(config)["files"].items():
        if digest != recorded.get(field, digest):
            raise ValueError(
                f"{field}: {config.sde.betas} has changed since {workdir.path} was begun (its SHA-256 was "
                f"{recorded[field]!s:.12}, and is {digest[:12]}); restore the file, or use another --workdir"
            )


def check_classes(experiment: Experiment, workdir: Workdir) -> None:
    """Refuse, with a ValueError, a class with one name for the network and another for the data set or the guide.

    A network that is told of classes, or tells them apart, knows them by number. Nothing is said of those whose names
    are not known.
    """
    if not experiment.num_classes or experiment.config.data.changed == "accept":
        return
    learned = _read(workdir).get("data", {}).get("classes", [])
    guide, others = experiment.guide, [(f"the data set {experiment.source.name!r}", experiment.source.class_names)]
    if guide and guide.num_classes:
        folder = experiment.settings.guide
        others.append((f"sampling.guide {folder!r}", _read(Workdir(folder)).get("data", {}).get("classes", [])))
    for name, classes in others:
        if learned and classes and list(classes) != learned:
            raise ValueError(
                f"{name} has other classes than {workdir.path} was trained on: {_renamed(learned, classes)}; use one "
                "of the same classes, or go on all the same (--config.data.changed=accept)"
            )


def check_alphabet(experiment: Experiment, workdir: Workdir) -> None:
    """Refuse, with a ValueError, a text whose symbols have other numbers than those that the network was trained on."""
    alphabet, learned = experiment.source.alphabet, _read(workdir).get("data", {}).get("alphabet")
    if alphabet and learned and learned != alphabet.about() and experiment.config.data.changed != "accept":
        raise ValueError(
            f"the symbols of {experiment.source.name!r} are not those that {workdir.path} was trained on (it had "
            f"{_symbols(learned)}, and there are {_symbols(alphabet.about())}), so that its numbers mean others; "
            "restore the text or the tokenizer, or go on all the same (--config.data.changed=accept)"
        )


def _symbols(about: list[Any]) -> str:
    kind, *of = about
    return f"{len(of[0])} {kind}" if kind == "characters" else " ".join([kind, *(f"{each!s:.12}" for each in of)])


def _read(workdir: Workdir) -> Inputs:
    mend = "remove it if the data set is still the one that the run was trained on"
    found = config_files.read_json(workdir.inputs_file, mend) if workdir.inputs_file.exists() else {}
    if not _is_record(found):
        raise ValueError(f"{workdir.inputs_file} is damaged: it is not what a run writes; {mend}")
    return found


def _is_record(found: Inputs) -> bool:
    """Whether this dictionary is one that `write` has written."""
    match found.get("data", "none yet"):
        case "none yet" | {
            "train": {"examples": _, "fingerprint": _},
            "test": {"examples": _, "fingerprint": _},
            "classes": list(),
        }:
            return isinstance(found.get("files", {}), dict)
    return False


def _of_source(source: Source) -> dict[str, Any]:
    sets = {"train": source.train, "test": source.test}
    facts = {name: {"examples": len(each), "fingerprint": of_records(each)} for name, each in sets.items()}
    symbols = {"alphabet": source.alphabet.about()} if source.alphabet else {}
    return facts | {"classes": list(source.class_names)} | symbols


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences between two records of a data set, each in words."""
    found = []
    for name, title in (("train", "the training set"), ("test", "the test set")):
        before, after = then[name]["examples"], now[name]["examples"]
        if before != after:
            found.append(f"{title} had {before} examples and has {after}")
        elif then[name]["fingerprint"] != now[name]["fingerprint"]:
            found.append(f"{title} has {after} examples as before, but other ones (in content, label or order)")
    if then["classes"] != now["classes"]:
        found.append(_renamed(then["classes"], now["classes"]))
    return found


def _renamed(then: list[str], now: list[str] | tuple[str, ...]) -> str:
    if len(then) != len(now):
        return f"there were {len(then)} classes and are {len(now)}"
    places = [i for i, (before, after) in enumerate(zip(then, now, strict=True)) if before != after]
    shown = ", ".join(f"class {i} was {then[i]!r} and is {now[i]!r}" for i in places[:SHOWN])
    return shown + (f" and {len(places) - SHOWN} more" if len(places) > SHOWN else "")
