"""What a training run begins with: its parts as the config names them, checked before anything compiles."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import optax

from autoencoders import Codec, Latents
from autoencoders.latents import MIRRORED
from checkpoints.store import CheckpointMismatch
from experiment import Experiment, inputs, rules
from experiment.build import EMA_FIELDS
from experiment.perceptual import Perceptual
from experiment.perceptual import load as load_perceptual
from experiment.power_averages import PowerAverages
from experiment.workdir import Workdir
from models.functional import Network, Variables
from sde_lib import NoiseLevels
from training import adversarial, autoencoders, length, losses, optimizer, reflow, trackers
from training.devices import Devices, check_batch_size
from training.devices import create as create_devices
from training.examples import NOISE, Encoder
from training.losses.adversarial import Adversarial
from training.losses.autoencoder import AutoencoderLoss
from training.losses.base import Loss
from training.model import Scores, batch_scores
from training.state import TrainState
from training.step import TrainStep, make_train_step
from training.teacher import Teacher, begun
from training.teacher import initial as initial_weights
from training.teacher import of_config as teacher_of

OF_LOSS = 4
"""The number of the key, among those that a run folds out of its seed, of what its loss draws at the beginning."""


class Preparation(NamedTuple):
    """A run's loss, optimiser, average's decay, devices, teacher (None: without one), inputs and beginning.

    Attributes:
      begin: the first state of variables.
      joining: the teacher whose flow joins noise and data before training (`training.reflow`); None where it does not.
      checkpoint: the state that the run continues; None where it begins.
      ema_stds: the widths of the power-function averages that it keeps.
      initial: the weights of another run that it begins with; None where they are drawn.
      perceptual: the weights of the perceptual distance; None where the loss has none.
    """

    loss: Loss
    adam: optax.GradientTransformation
    ema: Callable[[jax.Array], jax.Array]
    devices: Devices
    begin: Callable[[Variables], TrainState]
    teacher: Teacher | None
    joining: Teacher | None
    inputs: inputs.Inputs
    checkpoint: TrainState | None
    initial: Variables | None
    ema_stds: tuple[float, ...] = ()
    perceptual: Perceptual | None = None

    def state(self, draw: Callable[[], Variables]) -> TrainState:
        """Return the state that the run goes on from, or, of variables that are drawn only then, the first one.

        Power-function averages begin at its step where its checkpoint has none of these widths.
        """
        state = self.checkpoint
        if state is None:
            state = self.begin(begun(draw(), self.initial))
        if self.ema_stds and state.averages is None:
            state = state._replace(averages=PowerAverages.create(state.params, self.ema_stds, state.step))
        perceptual = self.perceptual and self.perceptual.weights
        return state._replace(teacher=self.teacher and self.teacher.variables, perceptual=perceptual)


def prepare(experiment: Experiment, workdir: Workdir) -> Preparation:
    """Check ``config.training`` and ``config.optim`` and read the newest checkpoint; nothing is compiled or written.

    Raises:
      ValueError: an unknown parallelism, a batch size that the devices do not divide, frequencies that the steps of a
        call do not divide, a value out of range, steps behind the end of the learning rate's fall, an option that a
        tracker does not take, a checkpoint of another architecture (CheckpointMismatch), or other data than the run
        was begun with.
    """
    rules.check(rules.of_training(experiment))
    rules.check(rules.of_snapshots(experiment))
    trackers.check(experiment.config)
    config = experiment.config.training
    devices = create_devices(config.parallelism)
    check_batch_size(config.batch_size, config.accumulate)
    loss = loss_of(experiment)
    rules.check(rules.of_loss(experiment, loss))
    loss.check_part(config.batch_size // (devices.axis_size * config.accumulate))
    adam, ema = optimizers_of(experiment, config.batch_size)
    adam = loss.bounded(adam)
    teaching = teacher_of(experiment)
    if teaching and loss.needs_pairs:
        reflow.check(experiment, teaching)
    perceptual = load_perceptual(experiment.config) if isinstance(loss, AutoencoderLoss) and loss.perceives else None
    digests = inputs.frozen_of(experiment) | ({"training.teacher": teaching.digest} if teaching else {})
    found = inputs.checked(experiment, workdir, digests | (perceptual.digests if perceptual else {}))
    of_loss = _beginning_of(experiment, loss, adam)

    def begin(variables: Variables) -> TrainState:
        return TrainState.create(variables, adam, of_loss(), target=loss.needs_target)

    template = jax.eval_shape(begin, trained_network(experiment).abstract())
    state = _restored(workdir, template, begin, config.ema_stds)
    if state is None:
        rules.check(rules.of_beginning(experiment, loss))
    length.check_decay(experiment.config, state)
    length.check_stages(experiment.config)
    teacher, joining = (None, teaching) if loss.needs_pairs else (teaching, None)
    initial = None if state else initial_weights(experiment)
    ours = loss, adam, ema, devices, begin
    return Preparation(*ours, teacher, joining, found, state, initial, config.ema_stds, perceptual)


def _beginning_of(experiment: Experiment, loss: Loss, adam: optax.GradientTransformation) -> Callable[[], Any]:
    """Return the function that makes the loss's state before the first step."""
    key, shape = jax.random.fold_in(jax.random.key(experiment.config.seed), OF_LOSS), experiment.codec.shape
    if isinstance(loss, AutoencoderLoss):
        return partial(autoencoders.beginning, loss, autoencoders.discriminator_of(loss, shape), adam, key)
    if isinstance(loss, Adversarial):
        return partial(adversarial.beginning, adversarial.discriminator_of(loss, shape), adam, key)
    return loss.init


def train_step_of(experiment: Experiment, prepared: Preparation) -> TrainStep:
    """Return the training step of a run, as its devices take it."""
    config, loss, devices = experiment.config.training, prepared.loss, prepared.devices
    shared: dict[str, Any] = {"ema": prepared.ema, "nan_to_num": config.nan_to_num}
    shared |= {"axis_size": devices.axis_size, "micro_batches": config.accumulate}
    if isinstance(loss, AutoencoderLoss):
        return autoencoders.make_autoencoder_step(
            loss,
            trained_network(experiment),
            autoencoders.discriminator_of(loss, experiment.codec.shape),
            _encoder(experiment, loss),
            prepared.adam,
            spread=devices.spread,
            **shared,
        )
    if isinstance(loss, Adversarial):
        return adversarial.make_adversarial_step(
            loss,
            trained_network(experiment),
            adversarial.discriminator_of(loss, experiment.codec.shape),
            _encoder(experiment, loss),
            prepared.adam,
            spread=devices.spread,
            **shared,
        )
    return make_train_step(
        devices.spread(scores_of(experiment, loss, devices.axis_size * config.accumulate, prepared.teacher)),
        prepared.adam,
        learn=loss.updated,
        average=loss.needs_average,
        target_decay=loss.target_decay if loss.needs_target else None,
        **shared,
    )


def loss_of(experiment: Experiment) -> Loss:
    """Return the loss of ``config.training``; ValueError for a value that it does not take."""
    sde, codec = experiment.sde, experiment.codec
    process = NoiseLevels(sde, experiment.num_scales) if experiment.num_scales else sde
    grey = codec.levels is not None and codec.pictures.dequantization == "none"
    return losses.of_config(experiment.config.training, process, codec.pictures.centres() if grey else None)


def optimizers_of(
    experiment: Experiment, batch_size: int
) -> tuple[optax.GradientTransformation, Callable[[jax.Array], jax.Array]]:
    """Return what follows the gradient, and the average's decay; ValueError for numbers out of range."""
    average = {name: experiment.config.model[name] for name in EMA_FIELDS}
    adam = optimizer.create(**experiment.config.optim, batch_size=batch_size)
    return adam, optimizer.create_ema(**average, batch_size=batch_size)


def scores_of(experiment: Experiment, loss: Loss, parts: int, teacher: Teacher | None = None) -> Callable[..., Scores]:
    """Return the loss of the network that the config names: `batch_scores` of one of `parts` parts of a batch."""
    network, encoder = trained_network(experiment), _encoder(experiment, loss)
    if isinstance(loss, AutoencoderLoss):
        return autoencoders.reconstruction_scores(loss, network, encoder)
    told = teacher and teacher.predict_fn
    how = experiment.reading if experiment.of_categories else experiment.parameterization
    return batch_scores(loss, network, how, encoder, parts=parts, teacher=told)


def _encoder(experiment: Experiment, loss: Loss) -> Encoder:
    """From stored records to the examples of the loss."""
    config, codec = experiment.config, experiment.codec
    if experiment.reader:
        experiment.reader.nothing  # noqa: B018  (what dropped captions are told is read before a program is traced)
    taken: Codec = codec.bare() if loss.needs_pairs else codec  # pairs hold x itself
    return Encoder(
        taken,
        random_flips=config.data.random_flip,
        augment_probability=config.data.augment,
        conditioner=experiment.conditioner,
        dropout=config.training.label_dropout,
    )


def fields_of(experiment: Experiment, loss: Loss) -> tuple[str, ...]:
    """Return the fields of a record that the loss takes."""
    mirrored: list[str] = (
        [MIRRORED] if experiment.config.data.random_flip and isinstance(experiment.codec, Latents) else []
    )
    return (*experiment.batch_fields, *mirrored, *([NOISE] if loss.needs_pairs else []))


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
