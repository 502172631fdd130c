"""A config comes from a Python file with get_config(), or from the config.json of a run, and is made canonical."""

import difflib
import json
import os
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs import default

NAMED = ("sde", "model", "data")
"""A config means nothing without these sections."""
PATHS = (
    "data.path",
    "data.test_path",
    "data.data_dir",
    "eval.inception",
    "eval.reference_stats",
    "sampling.guide",
    "sampling.upsampler",
    "data.alphabet",
    "data.codec",
    "data.latent_cache",
    "data.text_encoder",
    "training.teacher",
    "training.begin_with",
    "edit.image",
    "edit.other",
    "edit.mask",
    "sde.betas",
)
"""The fields of a config that name a file or a folder, if they hold a text."""
SIZES = ("data.image_size", "data.size", "data.crop")
"""The fields that hold the size of an image, as one side of a square or as height and width."""
RENAMED = {"visualize": {"levels": "places"}}
"""By section, the fields that runs were saved with under another name, and the name that they have now."""


def expand(path: str) -> str:
    """The path with a leading `~` or `~user` replaced by that home folder, which a shell leaves in --flag=~/x.

    Raises:
      ValueError: a user who is not known here.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ValueError(f"{path!r} begins with ~, and there is no such user; a folder of this name is ./{path}")
    return expanded


def canonical(config: ConfigDict) -> ConfigDict:
    """The config with its paths expanded and the size of a square image as one number; itself, where it is so already.

    Two configs that mean the same are equal then: a run may be used with either.
    """
    changed: dict[str, Any] = {}
    for field in (*PATHS, *SIZES):
        section, name = field.split(".")
        value = config.get(section, {}).get(name)
        if field in PATHS and isinstance(value, str) and value.startswith("~"):
            changed[field] = expand(value)
        if field in SIZES and isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
            changed[field] = value[0]
    if not changed:
        return config
    config = config.copy_and_resolve_references()
    with config.ignore_type():
        config.update_from_flattened_dict(changed)
    return config


def from_file(given: str) -> ConfigDict:
    """The config that get_config() of a Python file returns; for FILE:ARGUMENT it is that of get_config(ARGUMENT).

    Sections and fields that it leaves out are those of configs/default.py.

    Raises:
      ValueError: the file is not there, raises whatever it raises, or returns no config; one line that names it.
    """
    name, colon, argument = given.partition(":")
    path = Path(expand(name))
    if not path.is_file() and path.parts[:1] == ("configs",):  # an installed project is used where it does not lie
        path = Path(default.__file__).parents[1] / path
    if not path.is_file():
        raise ValueError(f"--config is {given!r}: there is no such file; experiments are under configs/")
    if path.suffix == ".json":
        raise ValueError(
            f"--config is {given!r}, and a config is a Python file with get_config(); where it is left out, "
            "the config.json of the run in --workdir is read"
        )
    loader = SourceFileLoader("config_of_command_line", str(path))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    try:
        loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise ValueError("it has no function get_config()")
        config = module.get_config(*[expand(argument)] if colon else [])
        found = config.to_dict() if isinstance(config, ConfigDict) else config
    except (Exception, SystemExit) as error:  # the file is the user's, and may raise anything
        raise ValueError(f"the config file {given} cannot be used: {_in_words(error)}") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"the config file {given} cannot be used: get_config() returns {_shown(found)}; needed is a ConfigDict, "
            "as that of configs/default.py"
        )
    return complete(found, f"the config file {given}")


def from_run(file: Path) -> ConfigDict:
    """The config that a run saved in `file`, its config.json; what it is too old to know is as in configs/default.py.

    Raises:
      ValueError: the file is empty, cut, or holds something else; one line that names it.
      OSError: it cannot be read.
    """
    return complete(_tuples(saved(file)), str(file))


def from_json(found: dict[str, Any], where: str) -> ConfigDict:
    """The config of these sections of a run, as JSON has them, by today's names and over the defaults.

    Raises:
      ValueError: they are no config; one line that names `where` they are from.
    """
    return complete(_tuples(_by_todays_names(found)), where)


def saved(file: Path) -> dict[str, Any]:
    """The sections and fields of a run's config.json, as JSON has them, by today's names; raises as `from_run` does."""
    found = read_json(file, "move it away, and continue the run with the --config that it was begun with")
    _check_sections(found, str(file))
    return _by_todays_names(found)


def read_json(file: Path, mend: str) -> dict[str, Any]:
    """The dictionary in a JSON file; the error of a file that holds none is one line, which ends in `mend`.

    Raises:
      ValueError: the file is empty, cut, or holds something else.
      OSError: it cannot be read.
    """
    try:
        found = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:  # also what is no UTF-8
        what = "is empty" if not file.stat().st_size else f"is damaged: {error}"
        raise ValueError(f"{file} {what}; {mend}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it holds {_shown(found)} in place of a dictionary; {mend}")
    return found


def complete(found: dict[str, Any], where: str) -> ConfigDict:
    """A locked config of these sections over the defaults; a process is described by its own section alone."""
    _check_sections(found, where)
    config = default.get_config().to_dict()
    for name, value in found.items():
        config[name] = config[name] | value if isinstance(config.get(name), dict) and name != "sde" else value
    return canonical(ConfigDict(config)).lock()


def _check_sections(found: dict[str, Any], where: str) -> None:
    """Refuse, with a ValueError, unknown sections, and a config without those that say what is trained."""
    for name in NAMED:
        if name not in found:
            raise ValueError(f"{where} has no section {name!r}, without which nothing can be built; add it")
    sections = default.get_config().to_dict()
    for name in found:
        if name not in sections:
            near = "".join(f"; did you mean {near!r}?" for near in difflib.get_close_matches(str(name), sections, n=1))
            raise ValueError(f"{where} has {name!r}, which nothing reads{near or '.'} Known are {', '.join(sections)}")
    for name, value in sections.items():
        if isinstance(value, dict) and not isinstance(found.get(name, {}), dict):
            raise ValueError(f"{where} has {_shown(found[name])} as {name!r}, where a section of fields belongs")
    for section, field in (("sde", "name"), ("model", "name"), ("data", "dataset")):
        if not isinstance(value := found[section].get(field, "" if section == "sde" else "default"), str) or not value:
            raise ValueError(f"{where} has {_shown(value)} as {section}.{field}, where a name belongs")


def _by_todays_names(found: dict[str, Any]) -> dict[str, Any]:
    """The sections, in which the fields of `RENAMED` have the names that they have now."""
    return found | {
        section: {names.get(name, name): value for name, value in found[section].items()}
        for section, names in RENAMED.items()
        if isinstance(found.get(section), dict)
    }


def _tuples(value: Any) -> Any:
    """The value with tuples in place of lists, which JSON makes of them, at any depth."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _in_words(error: BaseException) -> str:
    while error.args and isinstance(error.args[0], BaseException):  # ml_collections wraps one in another
        error = error.args[0]
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:56]} ..."
