"""What a training run begins with: its parts as the config names them, checked before anything compiles."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from checkpoints.store import CheckpointMismatch
from experiment import Experiment, inputs, rules
from experiment.build import EMA_FIELDS
from experiment.power_averages import PowerAverages
from experiment.workdir import Workdir
from models.functional import Network, Variables
from sde_lib import NoiseLevels
from training import length, losses, optimizer, reflow
from training.devices import Devices, check_batch_size
from training.devices import create as create_devices
from training.examples import NOISE, Encoder
from training.losses.base import Loss
from training.model import Scores, batch_scores
from training.state import TrainState
from training.teacher import Teacher, begun
from training.teacher import initial as initial_weights
from training.teacher import of_config as teacher_of


class Preparation(NamedTuple):
    """A run's loss, optimiser, average's decay, devices, teacher (None: without one), inputs and beginning.

    Attributes:
      joining: the teacher whose flow joins noise and data before training (`training.reflow`); None where it does not.
      checkpoint: the state that the run continues; None where it begins.
      ema_stds: the widths of the power-function averages that it keeps.
      initial: the weights of another run that it begins with; None where they are drawn.
    """

    loss: Loss
    adam: optax.GradientTransformation
    ema: Callable[[jax.Array], jax.Array]
    devices: Devices
    teacher: Teacher | None
    joining: Teacher | None
    inputs: inputs.Inputs
    checkpoint: TrainState | None
    initial: Variables | None
    ema_stds: tuple[float, ...] = ()

    def state(self, draw: Callable[[], Variables]) -> TrainState:
        """Return the state that the run goes on from, or, of variables that are drawn only then, the first one.

        Power-function averages begin at its step where its checkpoint has none of these widths.
        """
        state = self.checkpoint
        if state is None:
            variables = begun(draw(), self.initial)
            state = TrainState.create(variables, self.adam, self.loss.init(), target=self.loss.needs_target)
        if self.ema_stds and state.averages is None:
            state = state._replace(averages=PowerAverages.create(state.params, self.ema_stds, state.step))
        return state._replace(teacher=self.teacher and self.teacher.variables)


def prepare(experiment: Experiment, workdir: Workdir) -> Preparation:
    """Check ``config.training`` and ``config.optim`` and read the newest checkpoint; nothing is compiled or written.

    Raises:
      ValueError: an unknown parallelism, a batch size that the devices do not divide, frequencies that the steps of a
        call do not divide, a value out of range, steps behind the end of the learning rate's fall, a checkpoint of
        another architecture (CheckpointMismatch), or other data than the run was begun with.
    """
    rules.check(rules.of_training(experiment))
    config = experiment.config.training
    devices = create_devices(config.parallelism)
    check_batch_size(config.batch_size, config.accumulate)
    loss = loss_of(experiment)
    rules.check(rules.of_loss(experiment, loss))
    loss.check_part(config.batch_size // (devices.axis_size * config.accumulate))
    adam, ema = optimizers_of(experiment, config.batch_size)
    teaching = teacher_of(experiment)
    if teaching and loss.needs_pairs:
        reflow.check(experiment, teaching)
    found = inputs.checked(experiment, workdir, {"training.teacher": teaching.digest} if teaching else {})

    def begin(variables: Variables) -> TrainState:
        return TrainState.create(variables, adam, loss.init(), target=loss.needs_target)

    template = jax.eval_shape(begin, trained_network(experiment).abstract())
    state = _restored(workdir, template, begin, config.ema_stds)
    if state is None:
        rules.check(rules.of_beginning(experiment, loss))
    length.check_decay(experiment.config, state)
    length.check_stages(experiment.config)
    teacher, joining = (None, teaching) if loss.needs_pairs else (teaching, None)
    initial = None if state else initial_weights(experiment)
    return Preparation(loss, adam, ema, devices, teacher, joining, found, state, initial, config.ema_stds)


def loss_of(experiment: Experiment) -> Loss:
    """Return the loss of ``config.training``; ValueError for a value that it does not take."""
    sde, codec = experiment.sde, experiment.codec
    process = NoiseLevels(sde, experiment.num_scales) if experiment.num_scales else sde
    grey = codec.levels is not None and codec.dequantization == "none"
    return losses.of_config(experiment.config.training, process, codec.centres() if grey else None)


def optimizers_of(
    experiment: Experiment, batch_size: int
) -> tuple[optax.GradientTransformation, Callable[[jax.Array], jax.Array]]:
    """Return what follows the gradient, and the average's decay; ValueError for numbers out of range."""
    average = {name: experiment.config.model[name] for name in EMA_FIELDS}
    adam = optimizer.create(**experiment.config.optim, batch_size=batch_size)
    return adam, optimizer.create_ema(**average, batch_size=batch_size)


def scores_of(experiment: Experiment, loss: Loss, parts: int, teacher: Teacher | None = None) -> Callable[..., Scores]:
    """Return the loss of the network that the config names: `batch_scores` of one of `parts` parts of a batch."""
    config, codec = experiment.config, experiment.codec
    encoder = Encoder(
        dataclasses.replace(codec, levels=None) if loss.needs_pairs else codec,  # pairs hold x itself
        random_flips=config.data.random_flip,
        augment_probability=config.data.augment,
        conditioner=experiment.conditioner,
        dropout=config.training.label_dropout,
    )
    return batch_scores(
        loss,
        trained_network(experiment),
        experiment.parameterization,
        encoder,
        parts=parts,
        teacher=teacher and teacher.predict_fn,
    )


def fields_of(experiment: Experiment, loss: Loss) -> tuple[str, ...]:
    """Return the fields of a record that the loss takes."""
    return (*experiment.batch_fields, *([NOISE] if loss.needs_pairs else []))


def trained_network(experiment: Experiment) -> Network:
    """Return the network as training takes its gradient; ValueError where ``training.remat`` finds no blocks in it."""
    if not experiment.config.training.remat:
        return experiment.network
    try:
        return experiment.network.recomputing()
    except ValueError as error:
        raise ValueError(f"training.remat is True, but {error}; set it to False") from error


def _restored(
    workdir: Workdir, template: TrainState, begin: Callable[[dict], TrainState], stds: tuple[float, ...]
) -> TrainState | None:
    """The newest state; after an import, which holds weights alone, one that begins with them at the imported step.

    Power-function averages of other widths than `stds` are left out.
    """
    tree = template.to_tree()
    averages = jax.eval_shape(lambda params: PowerAverages.create(params, stds), template.params)._asdict()
    with workdir.store(read_only=True) as store:
        step = store.latest_step()
        if step is not None and "imported" in store.metadata(step):
            tree = {name: tree[name] for name in ("step", "params", "ema", "fixed")}
            _, saved, _ = store.restore(tree, step) or (step, {}, {})
            return begin(saved)._replace(step=saved["step"], ema=saved["ema"])
        try:
            found = store.restore(tree | {"averages": averages} if stds else tree)
        except CheckpointMismatch:
            found = store.restore(tree, partial=True)
    return found and template.from_tree(found[1])
