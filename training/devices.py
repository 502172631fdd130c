"""What a training run asks of its devices; each holds the whole state (`pmapped`), or they share it (`sharded`)."""

from collections.abc import Callable
from typing import Any, Protocol

from training.calls import Call
from training.state import TrainState
from training.step import Batch, TrainStep


class Devices(Protocol):
    """The devices of a run and where its state, its batches and its programs lie on them.

    A state leaves them as it came, without a trace of their number: any may go on where any others stopped.
    """

    @property
    def axis_size(self) -> int:
        """What `batch_losses` and `make_train_step` are told: by how many devices of an axis they are run."""

    @property
    def joint(self) -> bool:
        """Whether what is computed with a `whole` state, on the host or under `jit`, needs every process."""

    def place(self, state: TrainState) -> TrainState:
        """The state, of host arrays equal in all processes, on the devices."""

    def split(self, batch: Batch, steps: int) -> Batch:
        """This process's examples of so many batches [steps, b, ...] on its devices."""

    def spread(self, losses: Callable[..., Any]) -> Callable[..., Any]:
        """``losses(variables, batch, ...)`` as `make_train_step` is to take them."""

    def compile_steps(self, train_step: TrainStep, steps: int, state: TrainState) -> Call:
        """``(state, batches, key) -> (state, metrics)`` for states placed like this one; see `calls.several`."""

    def whole(self, tree: Any) -> Any:
        """What was placed, or the metrics, as arrays of their own shapes; see `joint`."""

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function(variables, batch, key) -> arrays [b, ...]`` compiled, for `whole` variables."""
