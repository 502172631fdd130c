"""The compiled edit of one example of categories: what is not known is filled in, or a part of it is drawn again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import samplers
from editing.gaps import UNKNOWN
from editing.tasks import Inputs
from editing.telling import check, start_of, told_of
from experiment import Experiment
from experiment.sampling import beliefs
from models.materialize import network_jit
from samplers.base import Stepper


def edit_of(experiment: Experiment, variables: dict[str, Any], read: Inputs) -> Callable:
    """The compiled edit of one example, as `editing.steps.edit_of` is of a picture; what does not fit is refused.

    Of an example with y the categories that are known are drawn as they are (`samplers.infilled`), and with masks they
    are seen from the first step on (`samplers.keeping`). It begins with a draw of the prior or, where the task starts
    below 1, with the example noised to that time.
    """
    count, settings, start = experiment.config.edit.count, experiment.settings, start_of(experiment)
    process: Any = experiment.process(variables)
    first = float(process.grid(settings.steps, start)[0])

    def edit(
        variables: dict[str, Any], key: jax.Array, told: dict[str, jax.Array], _: Any, x0: jax.Array, y: Any, __: Any
    ) -> tuple[jax.Array, jax.Array]:
        key_begin, key_path = jax.random.split(key)
        each = jax.tree.map(lambda field: jnp.repeat(field, count // len(field), axis=0), told)
        model, x0 = beliefs(experiment, variables, settings, each, start), jnp.repeat(x0, count, axis=0)

        def kept(stepper: Stepper) -> Stepper:
            return stepper if y is None else samplers.keeping(process, stepper, known, where)

        if y is not None:
            known = jnp.repeat(y, count, axis=0)
            where = known != UNKNOWN
            model = samplers.infilled(model.process, model, known, where)
        drawn = start == 1.0 and y is not None
        z = process.prior_sample(key_begin, x0.shape) if drawn else process.noise(key_begin, x0, jnp.asarray(first))
        return samplers.create_categorical(process, model, settings, wrap=kept, start=start)(key_path, z)[:2]

    samplers.create_categorical(process, lambda x, t: x, settings, start=start)
    check(experiment)
    told_of(experiment, read, 0)  # what cannot be read is refused
    return network_jit(edit, experiment.network.dtype)
