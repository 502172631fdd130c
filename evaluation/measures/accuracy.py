"""How well a classifier of noisy data tells the test set's classes, level by level."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sde_lib
from evaluation.measures.base import Columns, Measure, write_csv
from experiment import Experiment
from experiment.writing import replacing
from metrics.chain_bound import normal_noise


class Accuracy(Measure):
    """Cross-entropy and accuracy at each of `eval.accuracy_levels` noise levels, every example once a level.

    Each level has dequantisation and noise of its own. The table goes to the folder as CSV and as a picture. A subclass
    that asks for another choice has `asked`, the names and the number of its answers; the table is this one.
    """

    name = "accuracy"
    folder = "accuracy"
    what = "accuracy"
    kinds = ("classifier",)
    answers = "classes"

    def __init__(self, experiment: Experiment):
        super().__init__(experiment, t=levels(experiment, experiment.config.eval.accuracy_levels).tolist())

    @property
    def count_of_answers(self) -> int:
        """From how many answers the network chooses."""
        return self.experiment.num_classes

    def asked(
        self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array
    ) -> tuple[sde_lib.LogitsFn, jax.Array]:
        """The logits [b, answers] of the noised images of a batch, and the number of the right answer of each, [b]."""
        return self.experiment.logits_fn(variables, chain=True), batch["label"]

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns cross_entropy (nats) and correct, [b, levels]."""
        experiment, (logits_fn, right) = self.experiment, self.asked(variables, batch, keys)
        process = experiment.noising(variables, chain=True)
        dequantize, noising = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        x0 = jnp.asarray(experiment.codec.encode(batch[experiment.codec.field], dequantize))
        noise = normal_noise(noising, x0)

        def at(level: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            i, t = level
            times = jnp.full(len(x0), t, x0.dtype)
            mean, std = process.marginal(x0, times)
            x = mean + sde_lib.expand(std, x0) * noise(i)
            logits = logits_fn(x, times)
            log_prob = sde_lib.log_prob_fn(lambda x, t: logits, right)(x, times)
            return -log_prob, jnp.argmax(logits, axis=-1) == right

        times = jnp.asarray(self.settings["t"], x0.dtype)
        cross_entropy, correct = jax.lax.map(at, (jnp.arange(len(times)), times))
        return {"cross_entropy": cross_entropy.T, "correct": correct.T}

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """The accuracy, its standard error and the cross-entropy of each level, beside its t and log SNR."""
        t = jnp.asarray(self.settings["t"], jnp.float32)
        log_snr = self.experiment.noising(variables, chain=True).log_snr(t)
        share, entropy = (columns[name][0].mean(axis=0, dtype=np.float64) for name in ("correct", "cross_entropy"))
        return {
            "t": self.settings["t"],
            "log_snr": np.asarray(log_snr, np.float64).tolist(),
            "accuracy": share.tolist(),
            "cross_entropy": entropy.tolist(),
            "standard_error": np.sqrt(share * (1.0 - share) / self.count).tolist(),
            "examples": self.count,
            self.answers: self.count_of_answers,
        }

    def illustrate(self, columns: Columns, part: dict[str, Any], folder: Path) -> None:
        """Write the table and its picture under the measure's name, as accuracy.csv and accuracy.png."""
        names = ("t", "log_snr", "accuracy", "cross_entropy")
        write_csv(folder / f"{self.name}.csv", names, zip(*(part[name] for name in names), strict=True))
        _draw(folder / f"{self.name}.png", part, part[self.answers])

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section that is called as `what`, with a line a level."""
        columns = [part[name] for name in ("log_snr", "t", "accuracy", "standard_error", "cross_entropy")]
        return [
            f"## {cls.what[:1].upper()}{cls.what[1:]}",
            "",
            f"Of {part['examples']} test examples, each noised once a level, and {part[cls.answers]} {cls.answers}, of "
            "which one is its own: the share whose likeliest is that one, and the mean cross-entropy.",
            "",
            "| log SNR | t | accuracy | cross-entropy (nats) |",
            "|---|---|---|---|",
            *(
                f"| {log_snr:.2f} | {t:.5f} | {100 * share:.1f} +- {100 * error:.1f} % | {entropy:.3f} |"
                for log_snr, t, share, error, entropy in zip(*columns, strict=True)
            ),
            "",
        ]


def levels(experiment: Experiment, n: int) -> np.ndarray:
    """Times t of n noise levels, the cleanest and the noisiest among them: even in log SNR, or in a chain's levels."""
    sde = experiment.sde
    with jax.enable_x64(True):
        if experiment.num_scales:
            index = jnp.round(jnp.linspace(0.0, experiment.num_scales - 1.0, n))
            return np.asarray(sde.level_time(index, experiment.num_scales))
        first, last = (sde.log_snr(jnp.asarray(t)) for t in (sde.t_min, 1.0))
        return np.asarray(sde.time_of_log_snr(jnp.linspace(first, last, n)))


def _draw(path: Path, part: dict[str, Any], answers: int) -> None:
    """Draw accuracy and cross-entropy over log SNR, noise to the right, with what guessing among answers gives."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, name, guess in zip(
        figure.subplots(1, 2),
        ("accuracy", "cross_entropy"),
        (1.0 / answers, np.log(answers)),
        strict=True,
    ):
        axis.plot(part["log_snr"], part[name], marker="o", markersize=3)
        axis.axhline(guess, color="grey", linestyle=":", label="guessing")
        axis.set(xlabel="log SNR", ylabel=f"{name.replace('_', '-')}{' (nats)' if name != 'accuracy' else ''}")
        axis.set_ylim(bottom=0.0)
        axis.invert_xaxis()
        axis.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)
