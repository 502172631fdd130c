"""What the published recipes have in common beyond a data set: discrete training, depth, and the numbers reached."""

from ml_collections import ConfigDict

NUMBERS = ("fid", "inception_score", "fid_ode", "bits_per_dim")


def record(config: ConfigDict, **numbers: float) -> ConfigDict:
    """Write what the paper reached with this recipe, and how it was measured, into ``config.published``.

    FID and Inception score are of the checkpoint with the best FID among those of every 50,000 steps, 50,000 samples
    of ``config.sampling``; the FID of the probability flow and bits/dim are of the last checkpoint.
    """
    unknown = set(numbers) - set(NUMBERS)
    if unknown:
        raise ValueError(f"published numbers {sorted(unknown)}; known are {', '.join(NUMBERS)}")
    config.eval.inception_resize = "tf1"  # the paper's Inception features are those of TensorFlow's graph
    of_samples = ["pc"] if {"fid", "inception_score"} & numbers.keys() else []
    config.eval.samplers = tuple(of_samples + ["ode"] * ("fid_ode" in numbers)) or config.eval.samplers
    with config.unlocked():
        config.published = ConfigDict(numbers)
        config.published.update(
            checkpoint_rule=ConfigDict(
                {name: "last" if name in ("fid_ode", "bits_per_dim") else "best_fid" for name in numbers}
            ),
            checkpoint_every=50_000,
            num_samples=50_000,
            sampling_t_min=config.sampling.t_min,
            denoise=config.sampling.denoise,
            likelihood_t_min=1e-5,
            rtol=1e-5,
            atol=1e-5,
        )
    return config


def discrete(config: ConfigDict, num_scales: int = 1000) -> ConfigDict:
    """Train on the noise levels of DDPM (vp) or SMLD (ve) and sample their chain, as before continuous time."""
    ve = config.sde.name == "ve"
    config.training.continuous = False
    config.model.noise_label = "index_down" if ve else "index"
    config.sampling.steps = config.sampling.discretization = num_scales
    with config.unlocked():
        config.model.num_scales = num_scales
        if ve:
            config.model.update(sigma_min=config.sde.sigma_min, sigma_max=config.sde.sigma_max)
            if config.model.name == "ncsnpp":
                config.model.embedding_type = "positional"
        elif config.sampling.predictor == "euler_maruyama":
            config.sampling.predictor = "ancestral"
            config.sampling.variance = "large"
    if ve:  # whose flow in continuous time it was not trained for
        config.eval.samplers = ("pc",)
        config.eval.enable_bpd = False
    return config


def deep(config: ConfigDict) -> ConfigDict:
    """Twice the residual blocks, and fewer steps."""
    config.model.num_res_blocks = 8
    config.training.n_iters = 950_000
    return config
