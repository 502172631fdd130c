"""Paths as people write them: what a config names on disk, `~` for the home folder."""

import os

from ml_collections import ConfigDict

FIELDS = (
    "data.path",
    "data.test_path",
    "data.data_dir",
    "eval.inception",
    "eval.reference_stats",
    "sampling.guide",
    "edit.image",
    "edit.other",
    "edit.mask",
    "sde.betas",
)
"""The fields of a config that name a file or a folder, if they hold a text."""


def expand(path: str) -> str:
    """The path with a leading `~` or `~user` replaced by that home folder, which a shell leaves in --flag=~/x.

    Raises:
      ValueError: a user who is not known here.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ValueError(f"{path!r} begins with ~, and there is no such user; a folder of this name is ./{path}")
    return expanded


def expand_fields(config: ConfigDict) -> ConfigDict:
    """The config with every path in it expanded; the same object where there is nothing to do."""
    changed = {}
    for field in FIELDS:
        section, name = field.split(".")
        value = config.get(section, {}).get(name)
        if isinstance(value, str) and value.startswith("~"):
            changed[field] = expand(value)
    if not changed:
        return config
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changed)
    return config
