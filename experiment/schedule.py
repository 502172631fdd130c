"""A network and a learned noise schedule have their parameters in one place, trained, averaged and saved alike."""

import dataclasses
from typing import Any

import jax
from jaxtyping import Array, Key

from models.functional import Network, Variables
from sde_lib import AffineSDE

PREFIX = "schedule."  # of the schedule's names among the parameters; no network has a part of this name


@dataclasses.dataclass(frozen=True)
class NetworkAndSchedule(Network):
    """A network whose params hold those of the process beside its own; when it is applied, it sees its own alone."""

    sde: AffineSDE = dataclasses.field(kw_only=True)

    def init(self, key: Key[Array, ""]) -> Variables:
        """The network's initial variables, and the process's parameters as they are."""
        return self._with(super().init(key), self.sde.parameters)

    def abstract(self) -> Variables:
        """Shapes and dtypes of both."""
        return self._with(super().abstract(), jax.eval_shape(lambda: self.sde.parameters))

    def module(self, variables: Variables) -> Any:
        """The network's module."""
        own = {name: value for name, value in variables["params"].items() if not name.startswith(PREFIX)}
        return super().module({**variables, "params": own})

    @staticmethod
    def _with(variables: Variables, parameters: dict[str, Any]) -> Variables:
        named = {PREFIX + name: value for name, value in parameters.items()}
        return {**variables, "params": variables["params"] | named}


def joined(network: Network, sde: AffineSDE) -> Network:
    """The network, joined with the process where that has parameters."""
    return NetworkAndSchedule(network.name, network.options, sde=sde) if sde.parameters else network


def parameters_of(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the process among those of a run, under the process's own names."""
    return {name.removeprefix(PREFIX): value for name, value in params.items() if name.startswith(PREFIX)}
