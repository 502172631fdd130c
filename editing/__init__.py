"""Images in, images out: what ``--mode=edit`` does with a trained run."""

from editing.run import prepare
