"""A number or more for each image of the test set, in rounds on disk: what bits/dim and both bounds are made of."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from data.source import take
from evaluation.devices import on_devices, on_each, one_ahead
from evaluation.rounds import Rounds
from experiment import Experiment, Failure
from experiment.progress import waiting


def write_missing(
    experiment: Experiment,
    variables: dict[str, Any],
    rounds: Rounds,
    key: jax.Array,
    compute: Callable[[dict[str, Any], dict[str, jax.Array], jax.Array], dict[str, Any]],
    *,
    what: str,
    wrong: Callable[[dict[str, np.ndarray], str], str | None],
) -> None:
    """Compute and write the rounds that are missing: ``compute(variables, batch, keys) -> {column: [b, ...]}``.

    A batch has "image", and "label" where the network is told of classes: what is measured is then conditional.
    Example j gets ``fold_in(key, j)`` whatever batch it is in, so the numbers depend on neither devices nor processes.
    A round is fetched, checked and written while the devices work on the next.
    `wrong` says what is amiss with a round's columns, given the examples' range in words; None: nothing.

    Raises:
      Failure: what `wrong` says.
    """
    test, missing = experiment.source.test, rounds.missing()
    if missing:
        variables = on_each(variables, rounds.size)

    def dispatch(i: int) -> dict[str, Any]:
        first = i * rounds.size
        index = np.minimum(np.arange(first, first + rounds.size), rounds.total - 1)  # copies fill up the last round
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        examples = take(test, index)
        batch = {name: on_devices(examples[name]) for name in experiment.batch_fields}
        with waiting(f"compiling {what}"):  # later calls return at once
            return compute(variables, batch, keys)

    with rounds.progress(missing, what) as progress:
        for i, out in one_ahead(dispatch, missing):
            first, real = i * rounds.size, rounds.real(i)
            arrays = {name: np.asarray(value)[:real] for name, value in out.items()}
            message = wrong(arrays, f"examples {first} to {first + real - 1}")
            if message:
                raise Failure(message)
            rounds.write(i, **arrays)
            progress.update(real)


def not_finite(arrays: dict[str, np.ndarray], examples: str) -> str | None:
    """The `wrong` of a variational bound."""
    wrong = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    return f"variational bound: {wrong[0]} not finite among {examples}; take another checkpoint" if wrong else None
