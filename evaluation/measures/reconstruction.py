"""How near an autoencoder's reconstructions are to the test set, and what their latents cost."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autoencoders.codebook import usage
from autoencoders.posterior import Posterior
from evaluation.measures.base import Columns, Measure
from evaluation.rounds import Rounds
from experiment import Experiment, made, perceptual
from metrics import ssim as structural
from metrics.psnr import psnr
from metrics.ssim import ssim
from models import lpips
from models.vgg16 import LEAST_SIDE

WEIGHTS = "perceptual"
"""The collection of the weights of LPIPS beside the network's."""


def reconstructed(experiment: Experiment, variables: dict, stored: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return stored images and their reconstructions as they are shown, in grey levels 0 to 255.

    The reconstruction is that of the posterior's mean, or of the quantised latents, rounded to stored levels.
    """
    codec = experiment.codec
    x = made.without_noise(codec, stored)
    y = experiment.network.apply({name: variables[name] for name in ("params", "fixed")}, x, jnp.zeros(len(x)))
    return jnp.asarray(codec.stretch(stored)), jnp.asarray(codec.to_uint8_display(y))


class Reconstruction(Measure):
    """PSNR, SSIM and root mean square error of images in 256 grey levels; LPIPS where its weights are given.

    What the latents cost is the KL divergence of the posterior from the standard normal distribution, the code length
    of a latent by bits back, or of a codebook the logarithm of its size at every place.
    """

    name = "reconstruction"
    folder = "reconstruction"
    what = "reconstructions"
    kinds = ("autoencoder", "vae")

    def __init__(self, experiment: Experiment):
        least = min(experiment.source.shape[:2])
        self._perceptual = perceptual.load(experiment.config) if least >= LEAST_SIDE else None
        super().__init__(experiment, lpips=self._perceptual.digests if self._perceptual else None)

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse files that do not hold the weights of LPIPS too."""
        super().check(experiment)
        perceptual.load(experiment.config)

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The columns mean_square [b], where they can be taken ssim and lpips [b], and kl [b] or codes [b, h, w]."""
        x, y = (image.astype(jnp.float32) for image in reconstructed(self.experiment, variables, batch[self._field]))
        found = {"mean_square": jnp.mean(jnp.square(x - y), axis=(1, 2, 3))}
        if min(x.shape[1:3]) >= structural.SIDE:
            found["ssim"] = ssim(x, y)
        if WEIGHTS in variables:
            with jax.default_matmul_precision("highest"):  # an accelerator would multiply in 10 or 8 bits
                found["lpips"] = lpips.distance(variables[WEIGHTS], x / 127.5 - 1.0, y / 127.5 - 1.0)
        module = self.experiment.network.module({name: variables[name] for name in ("params", "fixed")})
        encoded = module.encode(made.without_noise(self.experiment.codec, batch[self._field]))
        if self._codes:
            return found | {"codes": module.quantize(encoded)[1]}
        return found | {"kl": Posterior.of_moments(encoded).kl()}

    def filled(self, variables: dict, key: jax.Array, folder: Path, weights: dict[str, Any]) -> list[Rounds]:
        """Give the weights of LPIPS to the devices as well."""
        beside = {WEIGHTS: self._perceptual.weights} if self._perceptual else {}
        return super().filled(variables | beside, key, folder, weights)

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """The means with their standard errors, and the size of the latents beside that of the images."""
        each = {name: column[0].astype(np.float64) for name, column in columns.items() if name != "codes"}
        squares, height_width = each.pop("mean_square"), self.experiment.source.shape[:2]
        found: dict[str, Any] = {
            "examples": self.count,
            "psnr": _mean(psnr(squares)),
            "rmse": float(np.sqrt(squares.mean())),
            **{name: _mean(values) for name, values in each.items()},
            "perceptual": self.settings["lpips"] or "none",
            "image": list(self.experiment.source.shape),
            "latent": self._latent,
        }
        found["without"] = [name for name in ("ssim", "lpips") if name not in found]
        if self._codes:
            perplexity, used = usage(jnp.asarray(columns["codes"]), self._codes)
            places = columns["codes"][0, 0].size
            found["codebook"] = {"size": self._codes, "used": int(used), "perplexity": float(perplexity)}
            found["bits_an_image"] = places * math.log2(self._codes)
        else:
            found["bits_an_image"] = found["kl"]["mean"] / math.log(2.0)
        found["bits_a_pixel"] = found["bits_an_image"] / math.prod(height_width)
        return found

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "Reconstructions"."""
        lines = [
            f"- PSNR **{_words(part['psnr'], 2)}** dB, the mean of the images' own; root mean square error "
            f"{part['rmse']:.2f} of 255 grey levels"
        ]
        lines += [f"- {name.upper()} {_words(part[name], 4)}" for name in ("ssim", "lpips") if name in part]
        if "lpips" in part["without"]:
            lines.append("- LPIPS was not measured (perceptual none): eval.vgg16 and eval.lpips_heads name its weights")
        if "kl" in part:
            lines.append(
                f"- KL divergence of the posterior {_words(part['kl'], 1)} nats an image: {part['bits_an_image']:.0f} "
                f"bits an image, {part['bits_a_pixel']:.3f} a pixel"
            )
        else:
            book = part["codebook"]
            lines.append(
                f"- {book['used']} of {book['size']} codes are used, perplexity {book['perplexity']:.1f}; at their "
                f"full length {part['bits_an_image']:.0f} bits an image, {part['bits_a_pixel']:.3f} a pixel"
            )
        sizes = (" x ".join(map(str, part[name])) for name in ("image", "latent"))
        return [
            "## Reconstructions",
            "",
            f"Of {part['examples']} test images, {next(sizes)} to {next(sizes)} and back, from the mean of the "
            "posterior or the quantised latents; mean and standard error over images.",
            "",
            *lines,
            "",
        ]

    @property
    def _field(self) -> str:
        return self.experiment.codec.field

    @property
    def _latent(self) -> list[int]:
        """The height, width and channels of an image's latents."""
        network, image = self.experiment.network, jax.ShapeDtypeStruct((1, *self.experiment.source.shape), jnp.float32)
        shape = jax.eval_shape(
            lambda variables, x: network.module(variables).encode(x), network.abstract(), image
        ).shape
        return [*shape[1:3], shape[3] if self._codes else shape[3] // 2]

    @property
    def _codes(self) -> int:
        """The size of the codebook; 0 where there is none."""
        params = self.experiment.network.abstract()["params"]
        return params[CODEBOOK].shape[0] if CODEBOOK in params else 0


CODEBOOK = "codebook.embedding"


def _mean(each: np.ndarray) -> dict[str, float]:
    error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else float("nan")
    return {"mean": float(each.mean()), "standard_error": float(error)}


def _words(number: dict[str, float], digits: int) -> str:
    return f"{number['mean']:.{digits}f} +- {number['standard_error']:.{digits}f}"
