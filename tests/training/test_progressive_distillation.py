"""Progressive distillation against published code and the composed steps of a mixture's exact prediction."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplers import Settings
from samplers.create import grid, stepper_of
from sde_lib import EDM, GVP, VP, Flow, NoiseLevels, PredictFn, jump_fn
from sde_lib.preconditioning import PRECONDITIONINGS
from sde_lib.prediction import of_x0
from tests.oracles import planar
from tests.training.given import draws
from training import losses
from training.examples import Examples
from training.losses.progressive_distillation import Steps, target
from training.model import TrainedModel

PUBLISHED = np.load(Path(__file__).parents[1] / "reference" / "maps" / "progressive.npz")
NAMES = ("W1", "a", "b1", "W2", "b2")
PROCESSES = {"edm": EDM(), "vp": VP(), "flow": Flow(), "gvp": GVP()}


def net(params: dict, x: jax.Array, c_noise: jax.Array) -> jax.Array:
    """The reference arrays' network, told 250 log(sigma)."""
    hidden = x.reshape(len(x), -1) @ params["W1"].T + 1000.0 * c_noise[:, None] * params["a"] + params["b1"]
    return (jnp.tanh(hidden) @ params["W2"].T + params["b2"]).reshape(x.shape)


def test_loss_and_gradient_are_the_published_codes(x64) -> None:
    """Euler's steps in EDM's units are DDIM's; the weight is max(SNR, 1) on x0."""
    process, parameterization = EDM(t_min=0.002 / 80), PRECONDITIONINGS["edm"]()
    student, taught = ({n: jnp.asarray(PUBLISHED[f"net/{role}/{n}"]) for n in NAMES} for role in ("student", "teacher"))
    loss = losses.create("progressive_distillation", process, weight="truncated_snr", distilled_steps=9)
    ends = 80.0 ** (1 / 7), 0.002 ** (1 / 7)
    vars(loss)["steps"] = Steps.of(process, np.linspace(*ends, 19) ** 7 / 80)  # that grid ends ahead of data
    teacher = parameterization.predict_fn(process, lambda x, c: net(taught, x, c))
    x0, eps, index = (jnp.asarray(PUBLISHED[name]) for name in ("loss/x_start", "loss/noise", "progdist/indices"))

    def mean(params: dict) -> tuple[jax.Array, jax.Array]:
        model = TrainedModel(net, params, parameterization, teacher=teacher)
        found = loss.at(model, Examples(x0, {}, draws(jax.random.key(0), len(x0))), index, eps)["loss"]
        return jnp.mean(found), found

    gradient, found = jax.jit(jax.grad(mean, has_aux=True))(student)
    np.testing.assert_allclose(found, PUBLISHED["progdist/l2/truncated-snr/loss"], rtol=1e-9)
    for name in NAMES:
        expected = PUBLISHED[f"progdist/l2/truncated-snr/grad_{name}"]
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_the_student_of_an_exact_prediction_makes_its_two_steps_in_one(name: str, x64) -> None:
    """From every time of the grid, out of noise alone and to data too; its loss is then 0, and the teacher's is not."""
    sde, n, data = PROCESSES[name], 4, planar()
    teacher, loss = data.predict(sde), losses.create("progressive_distillation", sde, distilled_steps=4)
    steps = loss.steps
    sampler = stepper_of(sde, teacher, Settings(method="jump", evaluations=n))
    times = grid(sde, sampler, Settings(method="jump", evaluations=n))
    np.testing.assert_allclose([*steps.t, steps.s[-1]], times, rtol=1e-9)
    assert times[-1] == 0.0 and np.all(steps.middle < steps.t) and np.all(steps.s < steps.middle)

    x0, eps = data.sample(jax.random.key(0), n).astype(float), jax.random.normal(jax.random.key(1), (n, 2))
    step = Steps(*map(jnp.asarray, steps))

    @jax.jit
    def ends() -> tuple[jax.Array, ...]:
        def student(process, network) -> PredictFn:
            return PredictFn(sde, lambda x, t: of_x0(sde, x, t, target(sde, teacher, x, step)))

        class Student:
            predict_fn = staticmethod(student)

        class Teacher:
            predict_fn = staticmethod(lambda process, network: teacher)

        x = sde.alpha(step.t)[:, None] * x0 + sde.sigma(step.t)[:, None] * eps
        once, twice = jump_fn(sde, student(sde, None)), jump_fn(sde, teacher)
        examples = Examples(x0, {}, draws(jax.random.key(2), n))
        of = [
            loss.at(TrainedModel(None, {}, model(), teacher=teacher), examples, jnp.arange(n), eps)["loss"]
            for model in (Student, Teacher)
        ]
        return once(x, step.t, step.s), twice(twice(x, step.t, step.middle), step.middle, step.s), *of

    once, twice, none, some = ends()
    np.testing.assert_allclose(once, twice, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(none, 0.0, atol=1e-18)
    assert jnp.all(some[1:] > 1e-7) and jnp.max(some) > 1e-3  # the first step hardly leaves the noise


@pytest.mark.slow
def test_every_step_is_drawn(x64) -> None:
    """On a path that begins in noise alone, where SNR is 0; a stratified batch of eight draws each of four twice."""
    loss = losses.create("progressive_distillation", GVP(), stratified=True, weight="truncated_snr")
    seen = []
    examples = Examples(jnp.ones((8, 2)), {}, draws(jax.random.key(3), 8))

    def network(params: dict, x: jax.Array, label: jax.Array) -> jax.Array:
        seen.append(label)
        return x

    model = TrainedModel(network, {}, PRECONDITIONINGS["trigflow"](), teacher=planar().predict(GVP()))
    found = loss(model, examples)["loss"]
    assert jnp.all(jnp.isfinite(found)) and jnp.all(found > 0.0)
    values, counts = np.unique(np.asarray(seen[0]).round(6), return_counts=True)
    assert len(values) == 4 and np.all(counts == 2)
    assert values[-1] == 999.0


def test_noise_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of continuous time .ProgressiveDistillation.*; set it to True"):
        losses.create("progressive_distillation", NoiseLevels(VP(), 100))
