"""A training step in PyTorch as its users write it: loss, Adam, clipping and EMA as ours, on a given network."""

from collections.abc import Callable

import numpy as np
import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from experiment import Experiment


def check(config: ConfigDict) -> None:
    """ValueError where the config trains in a way that this step does not."""
    wanted = {
        "sde.name": ("vp", "ve"),
        "model.prediction": ("eps", "score"),
        "model.noise_label": ("t999", "sigma"),
        "model.preconditioning": ("none",),
        "training.continuous": (True,),
        "training.loss": ("simple",),
        "training.weight": ("uniform",),
        "training.time_sampling": ("uniform",),
        "training.likelihood_weighting": (False,),
        "optim.optimizer": ("Adam",),
        "data.augment": (0.0,),
    }
    for name, allowed in wanted.items():
        section, field = name.split(".")
        if config[section][field] not in allowed:
            raise ValueError(
                f"{name} is {config[section][field]!r}; the PyTorch step has {', '.join(map(str, allowed))}"
            )
    unknown = sorted(set(config.sde) - {"name", "t_min", "beta_min", "beta_max", "sigma_min", "sigma_max"})
    if unknown:
        raise ValueError(f"the PyTorch step has no option {', '.join(unknown)} of the process")


def losses(experiment: Experiment, network: nn.Module, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """The denoising loss of each example at times t, `training.losses.DenoisingScoreMatching` with weight uniform."""
    config, sde = experiment.config, experiment.sde
    if config.sde.name == "vp":
        exponent = t * sde.schedule.beta_min + 0.5 * t**2 * (sde.schedule.beta_max - sde.schedule.beta_min)
        alpha, sigma = torch.exp(-0.5 * exponent), torch.sqrt(-torch.expm1(-exponent))
    else:
        alpha, sigma = torch.ones_like(t), sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t
    std = sigma[:, None, None, None]
    label = sigma if config.model.noise_label == "sigma" else 999 * t
    output = network(alpha[:, None, None, None] * x0 + std * eps, label).float()
    errors = ((-std * output if config.model.prediction == "score" else output) - eps) ** 2
    return errors.flatten(1).mean(1) if config.training.reduce_mean else 0.5 * errors.flatten(1).sum(1)


def step_of(
    experiment: Experiment,
    network: nn.Module,
    images: np.ndarray,
    *,
    channels_last: bool = False,
    compiled: bool = False,
    bfloat16: bool = False,
) -> Callable[[], None]:
    """A call that makes one optimisation step on uint8 images [b, h, w, c] and waits for it; on CUDA where it is.

    ``network(x, label)`` is trained from the weights that it has. bfloat16 is autocast; `compiled` is torch.compile of
    network and loss.

    Raises ValueError for a config that the step does not know.
    """
    check(experiment.config)
    config, codec = experiment.config, experiment.codec
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")  # TF32 where there is it, as cuDNN's convolutions and XLA's products
    torch.backends.cudnn.benchmark = True
    form = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(device, memory_format=form).train()
    params = list(network.parameters())
    averages = [p.detach().clone(memory_format=torch.preserve_format) for p in params]
    optim = config.optim
    betas = (optim.beta1, optim.beta2)
    adam = torch.optim.Adam(
        params, lr=optim.lr, betas=betas, eps=optim.eps, weight_decay=optim.weight_decay, fused=True
    )
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device, memory_format=form)
    done = 0

    def batch_loss(image: Tensor) -> Tensor:
        k = image.float()
        uniform = codec.dequantization == "uniform"
        y = (k + torch.rand_like(k)) / codec.levels if uniform else k / (codec.levels - 1)
        x0 = 2 * y - 1 if codec.centered else y
        if config.data.random_flip:
            x0 = torch.where(torch.rand(len(x0), 1, 1, 1, device=device) < 0.5, x0, x0.flip(-1))
        t = experiment.sde.t_min + (1 - experiment.sde.t_min) * torch.rand(len(x0), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            return losses(experiment, network, x0, t, torch.randn_like(x0)).mean()

    loss_of = torch.compile(batch_loss) if compiled else batch_loss

    def step() -> None:
        nonlocal done
        adam.param_groups[0]["lr"] = optim.lr * (min(done / optim.warmup, 1.0) if optim.warmup else 1.0)
        adam.zero_grad(set_to_none=True)
        loss_of(batch).backward()
        if optim.grad_clip > 0:
            nn.utils.clip_grad_norm_(params, optim.grad_clip, foreach=True)
        adam.step()
        done += 1
        decay = (
            min(config.model.ema_rate, (1 + done) / (10 + done)) if config.model.ema_warmup else config.model.ema_rate
        )
        with torch.no_grad():
            torch._foreach_lerp_(averages, params, 1 - decay)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step
