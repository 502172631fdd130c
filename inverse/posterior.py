"""The score of p(x_t | y): the likelihood of y under a Gaussian p(x_0 | x_t), added to the score of p(x_t)."""

import jax
from jaxtyping import Array, Float

from inverse.measurement import LinearMeasurement
from inverse.ranges import RANGES
from inverse.solve import conjugate_gradients
from limits import check
from sde_lib.base import Process, expand
from sde_lib.prediction import Model, PredictFn, Prediction, as_prediction, with_gradient

COVARIANCES = ("exact", "identity")


def posterior_score(
    process: Process,
    model: Model,
    measurement: LinearMeasurement,
    y: Array,
    *,
    covariance: str = "exact",
    data_std: float = 1.0,
    iterations: int = 5,
) -> PredictFn:
    """score + J^T A^T (A R A^T + noise^2)^-1 (y - A x0) with x0 = E[x_0 | x_t], J = d x0 / d x_t and R its covariance.

    - 'exact': R = sigma^2 / alpha J, Tweedie's second moment (Boys et al. 2023, arXiv:2310.06721, eq. 10). The system
      is solved by conjugate gradients, products with J by reverse mode (as in Rozet et al. 2024, arXiv:2405.13712).
      The true score of the posterior where p(x_0 | x_t) is Gaussian, and so for Gaussian data.
    - 'identity': R = r^2 I with r^2 = sigma^2 s^2 / (alpha^2 s^2 + sigma^2), s = `data_std`: that of isotropic data
      (Song et al. 2023, PiGDM, https://openreview.net/forum?id=9_gsMA8MRKQ, with s = 1; its guidance without the
      additional factor r^2 of the published DDIM form).

    Each evaluation costs one of the model and one backward pass ('identity') or up to 1 + `iterations` ('exact'). The
    variance output stays as it is. Without noise the posterior's score is steep near data, so use samplers that take
    steps in x0 or small ones.

    Args:
      process: what noises the data.
      model: of images [b, ...], each example by itself.
      measurement: A and its noise.
      y: [b, ...], or [1, ...] for all.
      covariance: 'exact' or 'identity'.
      data_std: of 'identity': standard deviation of the data, per number.
      iterations: of 'exact': of the conjugate gradients; as many as y has numbers are exact, a few suffice.

    Raises:
      ValueError: an unknown covariance, a deviation or number of iterations that is not positive; on use, shapes that
        do not fit.
    """
    if covariance not in COVARIANCES:
        raise ValueError(f"posterior: covariance is {covariance!r}; allowed are {', '.join(COVARIANCES)}")
    check("posterior: ", {"data_std": data_std, "iterations": iterations}, RANGES)
    floor, predict = measurement.noise**2, as_prediction(process, model)

    def wrapped(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
        alpha, variance = process.alpha(t), process.sigma(t) ** 2

        def denoise(x: Array) -> tuple[Array, Prediction]:
            prediction = predict(x, t)
            return prediction.x0, prediction

        x0, pull, prediction = jax.vjp(denoise, x, has_aux=True)
        residual = measurement.residual(x0, y)

        def back(u: Array) -> Array:
            return pull(measurement.adjoint(u))[0]

        if covariance == "identity":
            square = data_std**2
            weighted = measurement.solve(residual, variance * square / (alpha**2 * square + variance), floor)
        else:
            ratio = expand(variance / alpha, residual)
            weighted = conjugate_gradients(
                lambda u: ratio * measurement.apply(back(u)) + floor * u, residual, iterations=iterations
            )
        return with_gradient(process, prediction, t, back(weighted))

    return PredictFn(predict.process, wrapped)
