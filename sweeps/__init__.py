"""Sweeps: a run of every combination of the values of some fields of a config, and one table of all of them."""

from sweeps.run import prepare

__all__ = ["prepare"]
