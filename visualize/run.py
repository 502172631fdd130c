"""The mode: what is checked of a run, and then the page in its folder."""

from collections.abc import Callable
from pathlib import Path

import jax

from experiment import Run, rules
from experiment.processes import barrier, is_leader
from experiment.workdir import Workdir
from visualize import kinds, methods, page

FILE = "visualizer.html"
"""The name of the page in the folder of the run."""


def prepare(run: Run, workdir: Workdir) -> Callable[[], Path]:
    """What computes and writes the page of a run; this refuses what cannot be shown, and compiles nothing.

    Raises:
      ValueError: several processes, data that are not shown yet, a sampler that is not for the run, or a network that
        there is nothing to tell.
    """
    experiment = run.experiment
    if jax.process_count() > 1:
        raise ValueError(f"--mode=visualize is for one process, and {jax.process_count()} take part; start it alone")
    kind = kinds.kind_of(experiment)
    rules.check(rules.of_told(experiment))
    methods.chosen(experiment)

    def act() -> Path:
        path = workdir.path / FILE
        payload = kind.of_run(run)
        if is_leader():
            page.write(path, payload)
        barrier("visualized")
        return path

    return act
