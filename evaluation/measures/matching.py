"""How often a CLIP of noisy images chooses the caption that is the image's own, level by level."""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

import sde_lib
from data.source import take
from evaluation.measures.accuracy import Accuracy
from experiment import Experiment
from limits import whole
from models.materialize import network_jit

MOST = 4096
"""Captions of so many test examples, from the first, are those to choose from."""

AT_ONCE = 256
"""How many of them are encoded together."""
CAPTIONS = "captions"
"""The name of their features among the variables."""


class Matching(Accuracy):
    """Cross-entropy and accuracy of the choice among captions, at each of `eval.accuracy_levels` noise levels.

    Every example chooses among its own caption and `among` - 1 different ones of the test set, which are drawn for it
    without replacement by its own key, and are the same at every level. Where two are equally likely it is wrong.

    Args:
      experiment: the run.
      among: from how many captions each example chooses; as many as there are where there are fewer.
    """

    name = "matching"
    folder = "matching"
    what = "choice of captions"
    kinds = ("matcher",)
    answers = "captions"

    def __init__(self, experiment: Experiment, among: Annotated[int, whole(2, MOST)] = 32):
        super().__init__(experiment)
        self.captions = captions(experiment)
        self.among = min(among, len(self.captions))

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse, with a ValueError, a test set without two different captions."""
        super().check(experiment)
        if len(captions(experiment)) < 2:
            raise ValueError(
                f"there are no two different captions in the test set of {experiment.source.name!r}, between which "
                f"{cls.what} could choose; give it some"
            )

    @property
    def count_of_answers(self) -> int:
        """From how many captions each example chooses."""
        return self.among

    def prepared(self, variables: dict) -> dict:
        """The variables with the features of all captions, which are encoded `AT_ONCE` of them at a time."""
        network = self.experiment.network
        encode = network_jit(lambda v, ids: network.module(v).encode_text(jnp.maximum(ids, 0)), network.dtype)
        n, size = len(self.captions), min(AT_ONCE, len(self.captions))
        ids = np.resize(self.captions, (-(-n // size) * size, self.captions.shape[1]))
        features = np.concatenate([encode(variables, part) for part in np.split(ids, len(ids) // size)])[:n]
        return variables | {CAPTIONS: {"features": features}}

    def asked(
        self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array
    ) -> tuple[sde_lib.LogitsFn, jax.Array]:
        """The logits [b, among] of each image with its captions, the last of which is its own.

        The features of the captions are among the variables (`prepared`).
        """
        experiment, every = self.experiment, jnp.asarray(self.captions)
        process, clip = experiment.noising(variables, chain=True), experiment.network.module(variables)
        own = jnp.where(batch["mask"], batch["tokens"], -1)
        drawing = jax.vmap(jax.random.fold_in, (0, None))(keys, len(self.settings["t"]))
        order = jax.vmap(lambda key: jax.random.uniform(key, (len(every),)))(drawing)
        is_own = jnp.all(own[:, None] == every[None], axis=-1)
        others = jax.lax.top_k(jnp.where(is_own, -1.0, order), self.among - 1)[1]
        said = variables[CAPTIONS]["features"][others]
        texts = jnp.concatenate([said, clip.encode_text(batch["tokens"])[:, None]], axis=1)
        seen = sde_lib.features_fn(process, clip.encode_image, experiment.config.model.noise_label)
        return lambda x, t: clip.agreement(seen(x, t)[:, None], texts), jnp.full(len(own), self.among - 1)


def captions(experiment: Experiment) -> np.ndarray:
    """The different captions of the first `MOST` test examples, as the numbers of their tokens, -1 where none is."""
    test = experiment.source.test
    found = take(test, np.arange(min(MOST, len(test))))
    return np.unique(np.where(found["mask"], found["tokens"], -1), axis=0).astype(np.int32)
