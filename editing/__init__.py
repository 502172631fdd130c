"""Images in, images out: what ``--mode=edit`` does with a trained run."""

from editing.run import edit, prepare

__all__ = ["edit", "prepare"]
