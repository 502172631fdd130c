"""From a config to the objects it names, and the folder a run lives in; shared by training and evaluation."""

from experiment.build import build, load_autoencoder
from experiment.errors import Failure, Refusal, refusing
from experiment.experiment import Experiment
from experiment.run import Run, load
from experiment.version import version

__version__ = version()
