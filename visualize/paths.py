"""What a sampler visits from one starting point: its states, when, at what cost, and the guess of the data at each."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import samplers
from conditions import only_present
from experiment import Experiment, Failure, Run
from experiment.progress import waiting
from experiment.sampling import beliefs, guided, sampler
from experiment.weights import load_others
from models.materialize import network_jit
from samplers import Settings
from samplers.create import grid, stepper_of


class SamplerPath(NamedTuple):
    """The way of one sampler, of n examples at once, and k + 1 of its states from noise to data.

    Attributes:
      settings: those of the sampler.
      process: along which its model is asked.
      evaluations: of the network, spent on each sample at the end.
      times: of the states, falling, [k + 1].
      spent: the evaluations up to each state, [k + 1].
      steps: the number of each state among all that the sampler has visited, from 0, [k + 1].
      states: x, [k + 1, n, ...].
      guesses: what the model says x_0 is at each state, E[x_0 | x_t], or of categories the likeliest, in the shape of
        `states`; at t = 0 the state itself. They are asked for by this page, and not among `evaluations`.
      confidence: of categories the probability of each guess; None of others.
    """

    settings: Settings
    process: Any
    evaluations: int
    times: np.ndarray
    spent: np.ndarray
    steps: np.ndarray
    states: np.ndarray
    guesses: np.ndarray
    confidence: np.ndarray | None = None


class Walker:
    """Follows samplers of one run from the same points of the prior, of n examples.

    Args:
      run: the run.
      n: how many examples.
      states: at most so many states of each path are kept, evenly apart, its ends among them.
    """

    def __init__(self, run: Run, n: int, states: int):
        self.experiment, self.n, self.states = run.experiment, n, states
        self.variables = run.variables | load_others(run.experiment)
        self.sde = self.experiment.process(run.variables)
        self.told = jax.tree.map(jnp.asarray, self.experiment.told(0, n))
        self.key_prior, self.key_path = jax.random.split(jax.random.key(self.experiment.config.eval.seed))

    def start(self, settings: Settings) -> jax.Array:
        """The points at which a sampler starts: the same noise for all, as wide as each takes its prior to be."""
        process = samplers.process_of(self.experiment.sde, settings)
        z = process.prior_sample(self.key_prior, (self.n, *self.experiment.codec.shape))
        return only_present(z, self.told)

    def follow(self, settings: Settings) -> SamplerPath:
        """The path of a sampler over Gaussian noise.

        Raises:
          Failure: a state is not finite.
        """
        stepper = stepper_of(self.sde, lambda x, t: x, settings)
        times = grid(self.sde, stepper, settings)
        plan = stepper.plan(times)
        out = self._drawn(settings)
        states = np.array(out.trajectory)
        every = np.concatenate([times[:1], plan.reached(times)])
        spent = np.append(0, (plan.ends + 1) * stepper.evaluations + np.arange(1, len(plan.ends) + 1) * stepper.per_end)
        if settings.denoised:
            states, every = np.concatenate([states, np.asarray(out.x)[None]]), np.append(every, 0.0)
            spent = np.append(spent, spent[-1] + 1)
        else:
            states[-1] = out.x  # where the last step leaves its noise out
        if not np.isfinite(states).all():
            raise Failure(f"states of {settings.method} are not finite; {settings.remedy}")
        steps = thinned(len(states), self.states)
        states, every = states[steps], every[steps]
        with waiting(f"asking the network for its guesses along {settings.method}"):
            guesses = self._guesses(settings, states, every)
        process, cost = samplers.process_of(self.sde, settings), int(np.max(out.evaluations))
        return SamplerPath(settings, process, cost, every, spent[steps], steps, states, guesses)

    def follow_categories(self, settings: Settings) -> SamplerPath:
        """The path of a sampler over categories."""
        process: Any = self.experiment.sde
        every, out = process.grid(settings.steps), self._drawn(settings)
        steps = thinned(len(every), self.states)
        states, every = np.asarray(out.trajectory)[steps], every[steps]
        with waiting(f"asking the network for its guesses along {settings.method}"):
            guesses, confidence = self._likeliest(settings, states, every)
        along, cost = samplers.process_of(process, settings), int(np.max(out.evaluations))
        return SamplerPath(settings, along, cost, every, steps, steps, states, guesses, confidence)

    def _drawn(self, settings: Settings) -> samplers.Samples:
        """The samples of a sampler with its trajectory."""
        chosen = dataclasses.replace(self.experiment, settings=settings)

        def draw(variables: dict, key: jax.Array, z: jax.Array, told: Any) -> samplers.Samples:
            return sampler(chosen, variables, settings.method, self.sde, told, trajectory=True)(key, z)

        with waiting(f"following {settings.method}"):
            run = network_jit(draw, chosen.network.dtype)
            out: samplers.Samples = jax.block_until_ready(
                run(self.variables, self.key_path, self.start(settings), self.told)
            )
        return out

    def _guesses(self, settings: Settings, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """E[x_0 | x_t] at each state; where t is 0 it is the state."""
        alike = settings.on_chain, settings.thresholding, settings.method if settings.scheduled else ""
        ask = self._asked.setdefault(alike, self._asking(settings))
        found = [
            np.asarray(ask(self.variables, jnp.asarray(x), jnp.full(self.n, t, jnp.float32), self.told))
            if t > 0.0
            else x
            for x, t in zip(states, times, strict=True)
        ]
        return np.stack(found)

    @functools.cached_property
    def _asked(self) -> dict[Any, Any]:
        """The programs that ask the network, by what of the settings they depend on."""
        return {}

    def _asking(self, settings: Settings) -> Any:
        def ask(variables: dict, x: jax.Array, t: jax.Array, told: Any) -> jax.Array:
            return guided(self.experiment, variables, settings, self.sde, told)(x, t).x0

        return network_jit(ask, self.experiment.network.dtype)

    def _likeliest(self, settings: Settings, states: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest category of each position at each state, and its probability."""

        def ask(variables: dict, x: jax.Array, t: jax.Array, told: Any) -> tuple[jax.Array, jax.Array]:
            log_p = beliefs(self.experiment, variables, settings, told)(x, t).x0
            return jnp.argmax(log_p, axis=-1).astype(jnp.int32), jnp.exp(jnp.max(log_p, axis=-1))

        run, guesses, confidence = network_jit(ask, self.experiment.network.dtype), [], []
        for x, t in zip(states, times, strict=True):
            one = jnp.asarray(x), jnp.full(self.n, t, jnp.float32)
            likeliest, p = run(self.variables, *one, self.told) if t > 0.0 else (x, np.ones(x.shape, np.float32))
            guesses.append(np.asarray(likeliest))
            confidence.append(np.asarray(p))
        return np.stack(guesses), np.stack(confidence)


def thinned(count: int, most: int) -> np.ndarray:
    """The numbers of at most so many of `count` states, evenly apart, the first and the last among them."""
    return np.unique(np.round(np.linspace(0, count - 1, min(most, count))).astype(int))


def told_of(experiment: Experiment, n: int) -> list[str]:
    """What each of n samples is drawn of, in words: its text, or its class; '' where it is nothing."""
    if said := experiment.texts(0, n):
        return said
    labels, names = experiment.labels(0, n).get("label"), experiment.source.class_names
    return [""] * n if labels is None else [names[i] if i < len(names) else f"class {i}" for i in labels]
