"""Saving and restoring the state of a run."""

from checkpoints.store import CheckpointDamaged, CheckpointMismatch, Store

__all__ = ["CheckpointDamaged", "CheckpointMismatch", "Store"]
