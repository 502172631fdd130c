"""The tracker "mlflow" tells an MLflow server, or a folder of MLflow's, where its package is installed."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from experiment.workdir import flatten
from limits import Text
from training.trackers.base import Tracked, Tracker, identity

AT_ONCE, LONGEST = 100, 500
"""MLflow takes so many parameters in one call, each of so many characters at most."""


class MLflow(Tracker):
    """A run of MLflow of the folder's name, whose parameters are the config's fields by their dotted names.

    A training that goes on is the same run there, and repeats steps with the same numbers. `uri` is where MLflow keeps
    its runs: a server's address or a folder; "": what MLFLOW_TRACKING_URI says, or MLflow's own default.
    """

    package, distribution = "mlflow", "mlflow-skinny"

    def __init__(
        self,
        run: Tracked,
        experiment: Annotated[str, Text()] = "jax-score-sde",
        uri: Annotated[str, Text()] = "",
    ):
        from mlflow.entities import Metric, Param  # which need not be installed
        from mlflow.tracking import MlflowClient

        self._client, self._metric = MlflowClient(tracking_uri=uri or None), Metric

        def begun() -> str:
            """The identifier of a new run, with its parameters."""
            found = self._client.get_experiment_by_name(experiment)
            of = found.experiment_id if found else self._client.create_experiment(experiment)
            made = self._client.create_run(of, run_name=run.folder.name).info.run_id
            told = [Param(name, json.dumps(value)[:LONGEST]) for name, value in flatten(dict(run.config)).items()]
            for first in range(0, len(told), AT_ONCE):
                self._client.log_batch(made, params=told[first : first + AT_ONCE])
            return made

        self._run = identity(run.folder, "mlflow", begun)
        self._client.update_run(self._run, status="RUNNING")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers at their step."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, step: int, path: Path) -> None:
        """Log the picture as an artifact below "samples"."""
        self._client.log_artifact(self._run, str(path), "samples")

    def close(self) -> None:
        """Say that the run has ended; one that was stopped says so too, and is taken up again when it goes on."""
        self._client.set_terminated(self._run)
