"""What must fit the length of a run: the learning rate's fall and warm-up, the average, the losses of levels."""

import math

import optax
from ml_collections import ConfigDict

from training.state import TrainState

FEW_SNAPSHOTS = 16
"""From so many snapshots of the widths 0.05 and 0.1 on, widths from 0.03 to 0.2 are missed by less than 4 %."""

NEAREST = 1e-4
"""The least (t - r) / t of easy consistency tuning: of a smaller one, rounding is a thousandth of the loss."""


def check_decay(config: ConfigDict, state: TrainState | None) -> None:
    """Refuse steps behind the end of the learning rate's fall, which would train at a rate of exactly 0.

    The optimiser counts the steps of the fall from its own beginning: behind an import, from the imported step. `state`
    is what the run continues, None where it begins.

    Raises:
      ValueError: `training.n_iters` beyond the step at which `optim.decay_steps` ends.
    """
    done, counted = 0, 0
    if state is not None:
        done = int(state.step)
        counted = max(int(count) for _, count in optax.tree.get_all_with_path(state.opt_state, "count"))
    decay, last = config.optim.decay_steps, config.training.n_iters
    beyond = counted + last - done - decay
    if not decay or beyond <= 0 or last <= done:
        return
    raise ValueError(
        f"training.n_iters is {last} and optim.decay_steps {decay}: the learning rate has fallen to 0 at step "
        f"{last - beyond}, and the {beyond} steps behind it would train nothing; lengthen the fall as well "
        f"(--config.optim.decay_steps={decay + beyond}), or end at step {last - beyond}"
    )


def check_stages(config: ConfigDict) -> None:
    """Refuse so many stages of easy consistency tuning that r is no longer told from t, and the loss is 0 / 0.

    Raises:
      ValueError: `training.doubling_steps` too few for `training.ect_q` and the length of the run.
    """
    training = config.training
    steps, q, last = training.doubling_steps, training.ect_q, training.n_iters
    if training.loss != "easy_consistency" or not steps or q < 2:
        return
    most = max(int(math.log(NEAREST) / -math.log(q)), 1)
    if -(-last // steps) > most:
        raise ValueError(
            f"training.doubling_steps is {steps}, training.ect_q {q} and training.n_iters {last}: behind {most} stages "
            f"r is nearer to t than float32 tells; set doubling_steps to {-(-last // most)} or more"
        )


def doubts(config: ConfigDict, num_scales: int) -> list[str]:
    """Return a sentence for each setting that is allowed and hardly meant: a run of this length ends before it acts."""
    found, model, last, batch = [], config.model, config.training.n_iters, config.training.batch_size
    warmup = config.optim.warmup_images / batch or config.optim.warmup
    if warmup > last:
        field = "warmup_images" if config.optim.warmup_images else "warmup"
        found.append(
            f"optim.{field} is {config.optim[field]:g}, which lasts {warmup:.0f} steps, and training.n_iters {last}: "
            f"the learning rate ends at {last / warmup:.0%} of optim.lr"
        )
    field, decay, warms_up = "ema_rate", model.ema_rate, model.ema_warmup
    if model.ema_halflife_images:
        field, decay, warms_up = "ema_halflife_images", 0.5 ** (batch / model.ema_halflife_images), model.ema_rampup
    share = 0.0 if warms_up else decay**last
    if share > 0.05:
        found.append(
            f"model.{field} is {model[field]:g}, and training.n_iters {last}: {share:.0%} of the averaged weights, "
            "which samples and reports use, will still be the random initial ones"
        )
    snapshots = last // config.training.ema_snapshot_freq
    if config.training.ema_stds and snapshots < FEW_SNAPSHOTS:
        found.append(
            f"training.ema_snapshot_freq is {config.training.ema_snapshot_freq}, and training.n_iters {last}: "
            f"{snapshots} snapshots of the averages of training.ema_stds, from which few other widths can be made; "
            f"{FEW_SNAPSHOTS} or more are usual"
        )
    training = config.training
    if training.loss == "continuous_consistency" and training.tangent_warmup > last:
        found.append(
            f"training.tangent_warmup is {training.tangent_warmup}, and training.n_iters {last}: the map is trained by "
            f"{last / training.tangent_warmup:.0%} of its tangent at most"
        )
    if training.loss == "easy_consistency" and not training.doubling_steps and training.ect_q < 16:
        found.append(
            f"training.ect_q is {training.ect_q} and training.doubling_steps 0: in a single stage r stays far from t, "
            "and hardly more than a diffusion model is trained; usual are ect_q=256, or doubling_steps of an eighth of "
            "the training"
        )
    losses = num_scales * config.training.loss_history
    if config.training.time_sampling == "loss_aware" and last * batch < losses:
        found.append(
            f"training.time_sampling is 'loss_aware', which begins once each of {num_scales} noise levels has "
            f"{config.training.loss_history} losses, and this run sees {last * batch} examples: levels stay uniform"
        )
    return found
