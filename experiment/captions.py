"""A file of samples says of itself how they were drawn, from which weights, and of which class and guidance."""

from collections.abc import Mapping
from typing import Any

from experiment.experiment import Experiment

Facts = Mapping[str, Any]

IN_CAPTION = ("dataset", "task", "method", "evaluations", "class", "guidance", "guide", "seed", "checkpoint", "weights")
"""The facts that a caption tells people, in this order; a file carries all of them."""


def facts_of(
    experiment: Experiment, method: str, *, step: int, seed: int, evaluations: float, averaged: bool = True
) -> dict[str, Any]:
    """Everything that could explain samples of `method`, as JSON values.

    Args:
      experiment: the run that they were drawn from.
      method: the sampler's name, whose own settings are among the facts.
      step: the training step of the weights.
      seed: the seed of the noise.
      evaluations: the mean number of score evaluations a sample.
      averaged: whether the weights are the moving average or the raw ones.
    """
    settings: dict[str, Any] = experiment.settings_of(method).used()
    label = settings.pop("label", -1)
    facts = {
        "dataset": experiment.config.data.dataset,
        "levels": experiment.source.levels,
        "method": method,
        "evaluations": round(float(evaluations), 2),
        "seed": seed,
        "checkpoint": step,
        "weights": "average" if averaged else "raw",
    }
    if experiment.sampled_classes:
        facts["class"] = label if label >= 0 else "each in turn"
    return {**settings, **facts}


def caption(facts: Facts) -> str:
    """One line for people, such as "digits, heun, evaluations 20, class 3, guidance 2.0, seed 0, checkpoint 1200"."""
    bare = ("dataset", "task", "method")
    told = [f"{facts[name]}" if name in bare else f"{name} {facts[name]}" for name in IN_CAPTION if name in facts]
    return ", ".join(told)


def file_name(stem: str, experiment: Experiment) -> str:
    """The name `stem`, followed by the class where one was chosen, and by the guidance where there is any."""
    settings = experiment.settings
    stem += f"_label_{settings.label}" if settings.label >= 0 else ""
    guided = settings.guidance_scale != 1.0 or settings.guide
    return stem + (f"_guidance_{settings.guidance:g}" if guided else "")
