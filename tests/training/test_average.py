"""What a loss is: its methods are asked for where it is made, and one that asks for the average is given it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autoencoders.grey_levels import GreyLevels
from sde_lib import VP, Plain
from tests.oracles import compiled
from training.examples import Encoder, Examples
from training.losses.base import Loss, NoisedLoss
from training.model import Scores, TrainedModel, batch_scores
from training.state import TrainState
from training.step import make_train_step

W, AVERAGE = 3.0, 1.0


class Ours(Loss):
    """(w - w_average)^2 of the network w x, which is what both predict at x = 1."""

    needs_average = True

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        ones, t = jnp.ones((len(examples.x0), 1)), jnp.full(len(examples.x0), 0.5)
        found = [model.predict_fn(self.process, params)(ones, t).eps[:, 0] for params in (None, model.average)]
        return {"loss": (found[0] - found[1]) ** 2}


class Scales:
    """The network w x."""

    def apply(self, variables: dict, x: jax.Array, *_: Any, keys: Any) -> jax.Array:
        assert set(variables) == {"params", "fixed"}
        return variables["params"]["w"] * x


def _stepped(average: bool) -> tuple[TrainState, dict]:
    """One step of gradient descent at rate 1/8, after which the average is halfway between its start and w."""
    scores = batch_scores(Ours(VP()), Scales(), Plain("eps", "t"), Encoder(GreyLevels(2, True, "none")))
    sgd, ema = optax.sgd(0.125), lambda step: jnp.asarray(0.5)
    state = TrainState.create({"params": {"w": jnp.asarray(W)}, "fixed": {}}, sgd)
    state = state._replace(ema={"w": jnp.asarray(AVERAGE)})
    step = make_train_step(scores, sgd, ema=ema, average=average)
    return compiled(step)(state, {"image": jnp.zeros((4, 1), jnp.uint8)}, jax.random.key(0))


def test_a_loss_sees_the_average_which_has_no_gradient() -> None:
    """The gradient is 2 (w - average) = 4, by which w becomes 2.5 and the average 1.75."""
    state, metrics = _stepped(average=True)
    np.testing.assert_allclose(metrics["loss"], (W - AVERAGE) ** 2)
    np.testing.assert_allclose((state.params["w"], state.ema["w"]), (2.5, 1.75))


def test_where_none_is_given_these_weights_are_the_average() -> None:
    """So the loss on the test set, which is one of averaged weights, is 0; no other program holds the average."""
    _, metrics = _stepped(average=False)
    assert float(metrics["loss"]) == 0.0 and not Loss.needs_average


@pytest.mark.parametrize(("kind", "missing"), [(Loss, "__call__"), (NoisedLoss, "at")])
def test_a_method_that_a_loss_lacks_is_named_where_it_is_made(kind: type, missing: str) -> None:
    with pytest.raises(TypeError, match=rf"abstract .*{missing}"):
        type("Half", (kind,), {})(VP())
