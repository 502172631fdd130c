"""The denoised image made to agree with the measurement: a prediction for a prediction."""

from jaxtyping import Array, Float

from inverse.measurement import LinearMeasurement
from sde_lib.base import Process
from sde_lib.prediction import Model, PredictFn, Prediction, as_prediction, of_x0


def consistent(process: Process, model: Model, measurement: LinearMeasurement, y: Array) -> PredictFn:
    """The predictions whose denoised image x0 is replaced by x0 + A^+ (y - A x0), and eps in accord.

    DDNM (Wang et al. 2022, arXiv:2212.00490, eq. 13); for a mask what GLIDE's inpainting does. What A sees then moves
    as the exact posterior does; the rest is denoised given a noisy copy of it, so that what y says of the rest is
    partly lost. It costs no evaluation more than the model's, whose variance output
    it leaves as it is, and takes exact y only.

    Args:
      process: what noises the data.
      model: of images [b, ...].
      measurement: A.
      y: [b, ...], or [1, ...] for all.

    Raises:
      ValueError: a noisy measurement; on use, shapes that do not fit.
    """
    if measurement.noise:
        raise ValueError(f"consistent: takes exact measurements, and noise is {measurement.noise}; use 'posterior'")

    predict = as_prediction(process, model)

    def imposed(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
        prediction = predict(x, t)
        return of_x0(process, x, t, measurement.impose(prediction.x0, y), prediction.variance)

    return PredictFn(predict.process, imposed)
