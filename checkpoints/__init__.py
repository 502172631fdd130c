"""Saving and restoring the state of a run."""

from checkpoints.store import CheckpointDamaged, CheckpointMismatch, CheckpointNotSaved, Store

__all__ = ["CheckpointDamaged", "CheckpointMismatch", "CheckpointNotSaved", "Store"]
