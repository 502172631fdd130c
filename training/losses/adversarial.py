"""A generator learns from a discriminator what tells its samples from data (Goodfellow et al. 2014, arXiv:1406.2661).

D gives one logit for an example, r of data and f of the generator's G(z), z ~ N(0, I); both descend a mean of

| gan_loss       | of the discriminator           | of the generator | source                                     |
|----------------|--------------------------------|------------------|--------------------------------------------|
| non_saturating | softplus(-r) + softplus(f)     | softplus(-f)     | Goodfellow et al. 2014, sec. 3             |
| saturating     | the same                       | -softplus(f)     | the same, eq. 1                            |
| hinge          | relu(1 - r) + relu(1 + f)      | -f               | Lim and Ye 2017, arXiv:1705.02894          |
| least_squares  | ((r - 1)^2 + f^2) / 2          | (f - 1)^2 / 2    | Mao et al. 2017, arXiv:1611.04076          |
| wasserstein    | f - r                          | -f               | Arjovsky et al. 2017, arXiv:1701.07875     |
| relativistic   | softplus(f - r)                | softplus(r - f)  | Jolicoeur-Martineau 2019, arXiv:1807.00734 |

and the discriminator also, where their weights are above 0,

    r1_gamma / 2 |grad D(x)|^2,    r2_gamma / 2 |grad D(G(z))|^2                    (Mescheder et al. 2018, eq. 9, 10)
    gradient_penalty (|grad D(a x + (1 - a) G(z))| - 1)^2,    a ~ U(0, 1)                 (Gulrajani et al. 2017, eq. 3)

(arXiv:1801.04406, 1704.00028). The relativistic loss with both of the former is that of Huang et al. 2024
(arXiv:2501.05441).

R1 is lazy where ``r1_interval`` k is above 1 (Karras et al. 2020, arXiv:1912.04958, sec. 3.1): steps 0, k, 2 k, ...
have k times the penalty, the others neither have nor compute it, and the mean over steps is the same. In that paper it
has steps of Adam of its own, k + 1 in place of k, for which rate and betas are corrected; here its gradient is part of
the step that is made anyway, so that nothing is to be corrected.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiment.ranges import FIELDS
from training.draws import Draws
from training.examples import Examples
from training.losses.base import Loss
from training.model import Scores, TrainedModel

Logits = Float[Array, " b"]
Data = Float[Array, "b *d"]
Discriminator = Callable[[Data], Logits]
"""One logit for each example, above 0 for what is taken to be data; it depends on no other example."""

TINY = 1e-12
"""What is added to a squared norm of which a root is taken, whose gradient is not finite at 0."""


class GanLoss(NamedTuple):
    """The losses of the discriminator and of the generator, of logits of data and of samples, [b] each."""

    discriminator: Callable[[Logits, Logits], Logits]
    generator: Callable[[Logits, Logits], Logits]


def _cross_entropy(real: Logits, fake: Logits) -> Logits:
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


GAN_LOSSES: dict[str, GanLoss] = {
    "non_saturating": GanLoss(_cross_entropy, lambda real, fake: jax.nn.softplus(-fake)),
    "saturating": GanLoss(_cross_entropy, lambda real, fake: -jax.nn.softplus(fake)),
    "hinge": GanLoss(lambda real, fake: jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake), lambda real, fake: -fake),
    "least_squares": GanLoss(
        lambda real, fake: 0.5 * (jnp.square(real - 1.0) + jnp.square(fake)),
        lambda real, fake: 0.5 * jnp.square(fake - 1.0),
    ),
    "wasserstein": GanLoss(lambda real, fake: fake - real, lambda real, fake: -fake),
    "relativistic": GanLoss(
        lambda real, fake: jax.nn.softplus(fake - real), lambda real, fake: jax.nn.softplus(real - fake)
    ),
}
"""The losses by name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Adversarial(Loss):
    """The losses of both networks, each a function of examples.

    Attributes:
      gan_loss: a name of `GAN_LOSSES`.
      r1_gamma, r2_gamma, gradient_penalty: the weights of the penalties; 0: there is none.
      r1_interval: R1 is computed once in so many steps, with so many times its weight.
      disc_lr_ratio: of the discriminator's learning rate to the generator's (Heusel et al. 2017, arXiv:1706.08500).
      disc_layers, disc_channels: the size of the discriminator of patches, which has no norm.
    """

    gan_loss: Annotated[str, FIELDS["training.gan_loss"]] = "non_saturating"
    r1_gamma: Annotated[float, FIELDS["training.r1_gamma"]] = 0.0
    r1_interval: Annotated[int, FIELDS["training.r1_interval"]] = 1
    r2_gamma: Annotated[float, FIELDS["training.r2_gamma"]] = 0.0
    gradient_penalty: Annotated[float, FIELDS["training.gradient_penalty"]] = 0.0
    disc_lr_ratio: Annotated[float, FIELDS["training.disc_lr_ratio"]] = 1.0
    disc_layers: Annotated[int, FIELDS["training.disc_layers"]] = 3
    disc_channels: Annotated[int, FIELDS["training.disc_channels"]] = 64

    trains_generator = True
    ignores = ("reduce_mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.r1_interval > 1 and not self.r1_gamma:
            raise ValueError(
                f"training.r1_interval is {self.r1_interval} and training.r1_gamma 0, which is without that penalty; "
                "set r1_gamma above 0, or r1_interval to 1"
            )

    def of_discriminator(
        self, discriminator: Discriminator, real: Data, fake: Data, draws: Draws, step: Int[Array, ""] | int = 0
    ) -> Scores:
        """Return the discriminator's scores of examples and as many samples; "disc_loss" is what it descends.

        They are those of training step 0, 1, ..., which decides whether a lazy R1 is computed, and is else 0.
        """
        logits = discriminator(real), discriminator(fake)
        scores = {"disc_loss": GAN_LOSSES[self.gan_loss].discriminator(*logits)}
        scores |= {"logits_real": logits[0], "logits_fake": logits[1]}
        penalties = {}
        if self.r1_gamma:
            penalties["r1"] = self._at_intervals(
                lambda: 0.5 * self.r1_gamma * squared_slopes(discriminator, real), jnp.zeros_like(logits[0]), step
            )
        if self.r2_gamma:
            penalties["r2"] = 0.5 * self.r2_gamma * squared_slopes(discriminator, fake)
        if self.gradient_penalty:
            share = jax.vmap(jax.random.uniform)(draws.time)
            penalties["penalty"] = self.gradient_penalty * steepness(discriminator, real, fake, share)
        total = scores["disc_loss"] + sum(penalties.values(), jnp.zeros(()))
        return scores | penalties | {"disc_loss": total}

    def _at_intervals(self, penalty: Callable[[], Logits], none: Logits, step: Int[Array, ""] | int) -> Logits:
        """Return the penalty times the interval at every step of it, and at the others `none`, computing nothing."""
        if self.r1_interval == 1:
            return penalty()
        return jax.lax.cond(step % self.r1_interval == 0, lambda: self.r1_interval * penalty(), lambda: none)

    def of_generator(self, discriminator: Discriminator, real: Data, fake: Data) -> Scores:
        """Return the generator's loss of samples, beside as many examples, of which the relativistic one depends."""
        logits = discriminator(real), discriminator(fake)
        return {"loss": GAN_LOSSES[self.gan_loss].generator(*logits)}

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Refuse, with a NotImplementedError: what it says of examples depends on a discriminator."""
        raise NotImplementedError("a loss of two networks is computed by training.adversarial, and not on a test set")


def squared_slopes(discriminator: Discriminator, x: Data) -> Float[Array, " b"]:
    """Return |grad D|^2 at each example."""
    slopes = jax.grad(lambda x: jnp.sum(discriminator(x)))(x)
    return jnp.sum(jnp.square(slopes).reshape(len(x), -1), axis=1)


def steepness(discriminator: Discriminator, real: Data, fake: Data, share: Float[Array, " b"]) -> Float[Array, " b"]:
    """Return (|grad D| - 1)^2 at points between examples and samples, of which the former have this share."""
    share = share.reshape(-1, *[1] * (real.ndim - 1))
    slopes = squared_slopes(discriminator, share * real + (1.0 - share) * fake)
    return jnp.square(jnp.sqrt(slopes + TINY) - 1.0)
