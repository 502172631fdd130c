"""The rules of an evaluation, and of the reproduction of published numbers."""

from experiment.experiment import Experiment
from experiment.rules.base import Broken


def of_evaluation(experiment: Experiment) -> Broken:
    """The rules of an evaluation."""
    config = experiment.config.eval
    if config.enable_sampling and not config.samplers:
        yield (
            "eval.samplers is (), and eval.enable_sampling True; name at least one sampler, or set the latter to False"
        )
    if experiment.source.padded and (config.enable_vlb or set(config.measures) - {"bits"}):
        yield (
            f"eval.enable_vlb is {config.enable_vlb} and eval.measures {tuple(config.measures)}, and points of sets "
            "may be absent (data.varying), which bits/dim alone leave out; set them to False and ()"
        )
    for name in ("height", "width"):
        if experiment.config.sampling[name]:
            yield (
                f"sampling.{name} is {experiment.config.sampling[name]}, which is for --mode=sample; an evaluation "
                "draws pictures as large as its data: leave it 0"
            )
    if experiment.upsampler and (config.enable_bpd or config.enable_vlb or config.measures):
        yield (
            f"sampling.upsampler is {experiment.config.sampling.upsampler!r}, and what enlarges samples has no part in "
            "likelihoods and other measures of the test set; set eval.enable_bpd and eval.enable_vlb to False and "
            "eval.measures to (), or evaluate each run alone"
        )
    if start := experiment.config.sampling.start:
        yield f"sampling.start is {start!r}, which is for --mode=sample; an evaluation draws its own: leave it ''"


def published_samplers(experiment: Experiment) -> dict[str, str]:
    """The published numbers of a config that are of samples, by their fields, and the sampler that gives each."""
    method, published = experiment.settings.method, experiment.config.published
    methods = {"fid": method, "inception_score": method, "fid_ode": "ode"}
    return {field: methods[field] for field in methods if published.get(field) is not None}


def of_reproduction(experiment: Experiment) -> Broken:
    """The rules of a reproduction: there are published numbers, and the evaluation measures them as they were."""
    config, measured = experiment.config.eval, published_samplers(experiment)
    published, sampling = experiment.config.published, experiment.config.sampling
    asked = [*measured, *(name for name in ("bits_per_dim",) if published.get(name) is not None)]
    if not asked:
        yield (
            "this config has no published numbers to reproduce; those of configs/ve, vp and subvp whose docstrings "
            "name results have, and --mode=evaluate evaluates any"
        )
    scale = published.get("classifier_scale")
    if scale and not (sampling.guide and sampling.guidance == scale):
        yield (
            f"this config's numbers were reached with a classifier's guidance of scale {scale}; give sampling.guide "
            f"the folder of one and set sampling.guidance to {scale}, or use --mode=evaluate"
        )
    if config.end_step:
        yield f"eval.end_step is {config.end_step}; a reproduction is of one checkpoint"
    measured = measured if config.enable_sampling else {}
    absent = ", ".join(sorted(set(measured.values()) - set(config.samplers)))
    if absent:
        yield f"eval.samplers is {tuple(config.samplers)}; {', '.join(measured)} need {absent} as well"
    if not measured and not (config.enable_bpd and "bits_per_dim" in asked):
        yield (
            f"eval.enable_sampling is {config.enable_sampling} and eval.enable_bpd {config.enable_bpd}: none of "
            f"{', '.join(asked)} would be measured"
        )
    if measured and not config.inception:
        yield (
            f"eval.inception is empty; {', '.join(measured)} need the Inception weights "
            "(pt_inception-2015-12-05-6726825d.pth); or set eval.enable_sampling=False"
        )
