"""One, two and eight devices, pmap and fsdp, one and several steps a call: one training, compiled once, donated."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from autoencoders.grey_levels import GreyLevels
from checkpoints.store import Store
from experiment.processes import to_host
from models.functional import Network
from sde_lib import VP, Plain
from training import devices as kinds
from training import losses, optimizer, programs
from training.devices import Devices
from training.examples import Encoder
from training.model import batch_scores
from training.state import TrainState
from training.step import make_train_step

BATCH, STEPS = 16, 4
KEY = jax.random.key(7)
IMAGES = np.random.default_rng(0).integers(0, 17, (STEPS, BATCH, 8, 8, 1)).astype(np.uint8)
NETWORK = Network.create("mlp", shape=(8, 8, 1), width=256, depth=1, dropout=0.3)  # four kernels worth cutting
ADAM = optimizer.create(lr=1e-2, warmup=2)
ONE, EIGHT, TWICE, CUT, FOUR_CUT = ("pmap", 1), ("pmap", 8), ("pmap", 1, 2), ("fsdp", 8), ("fsdp", 4, 2)
ONE_BY_FOUR, TWO_BY_FOUR, CUT_BY_FOUR = ("pmap", 1, 1, 4), ("pmap", 2, 2, 4), ("fsdp", 2, 2, 4)  # micro-batches
MOST = 0.2  # of the numbers, those of small leaves among them, that one of eight devices has


class Run(NamedTuple):
    """What a training left: its state as it lies and on the host, that of halfway, losses [device, step]."""

    placed: TrainState
    state: TrainState
    half: TrainState
    loss: np.ndarray
    traces: int
    donated: list[bool]


@functools.cache
def _compiled(kind: str, devices: int, per_call: int, micro_batches: int) -> tuple[Devices, Any, list]:
    """A step with dropout, flips and dequantisation on the first `devices` devices, and a list of its traces."""
    over = kinds.create(kind, jax.devices()[:devices])
    encoder = Encoder(GreyLevels(17, True, "uniform"), random_flips=True)
    loss, parts = losses.create("simple", VP(), stratified=True), over.axis_size * micro_batches
    scores = batch_scores(loss, NETWORK, Plain("eps", "t999"), encoder, parts=parts)
    traces = []

    def counted(*arguments: Any) -> dict[str, jax.Array]:
        traces.append(1)
        return scores(*arguments)

    ema = optimizer.create_ema(ema_rate=0.9, ema_warmup=True, batch_size=BATCH)
    step = make_train_step(over.spread(counted), ADAM, ema=ema, axis_size=over.axis_size, micro_batches=micro_batches)
    return over, over.compile_steps(step, per_call, _beginning()), traces


def _plain(codec: GreyLevels) -> Callable[..., dict[str, jax.Array]]:
    """L_simple of the network, without flips."""
    return batch_scores(losses.create("simple", VP()), NETWORK, Plain("eps", "t999"), Encoder(codec))


def _beginning() -> TrainState:
    return TrainState.create(NETWORK.init(jax.random.key(1)), ADAM)


def _train(
    kind: str, devices: int, per_call: int = 1, micro_batches: int = 1, *, start: TrainState | None = None
) -> Run:
    """From the beginning, or from `start`, to step STEPS."""
    over, run, traces = _compiled(kind, devices, per_call, micro_batches)
    start = start or _beginning()
    placed, half, metrics, donated = over.place(start), start, [], []
    for i in range(int(start.step), STEPS, per_call):
        before = jax.tree.leaves(placed)
        placed, values = run(placed, over.split({"image": IMAGES[i : i + per_call]}, micro_batches), KEY)
        donated.append(all(leaf.is_deleted() for leaf in before))
        each = per_call // len(values)
        metrics += [np.asarray(value["loss"]).reshape(-1, each) for value in values]
        if i + per_call == STEPS // 2:
            half = jax.tree.map(np.copy, to_host(over.whole(placed)))  # no view: it would stop the donation
    return Run(placed, to_host(over.whole(placed)), half, np.concatenate(metrics, axis=1), len(traces), donated)


@pytest.fixture(scope="module")
def fast_to_compile() -> Iterator[None]:
    """A third of the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def runs(fast_to_compile: None) -> dict[tuple, Run]:
    return {case: _train(*case) for case in (ONE, EIGHT, TWICE, CUT, FOUR_CUT, ONE_BY_FOUR, TWO_BY_FOUR, CUT_BY_FOUR)}


def _furthest(a: TrainState, b: TrainState) -> float:
    """The largest distance of a leaf in its Euclidean norm, as a share of that norm."""
    pairs = zip(jax.tree.leaves((a.params, a.ema)), jax.tree.leaves((b.params, b.ema)), strict=True)
    return max(float(np.linalg.norm(x - y) / np.linalg.norm(x)) for x, y in pairs)


@pytest.mark.parametrize("case", [EIGHT, CUT, FOUR_CUT, ONE_BY_FOUR, TWO_BY_FOUR, CUT_BY_FOUR])
def test_any_number_of_devices_and_micro_batches_gives_the_same_parameters(runs: dict, case: tuple) -> None:
    one, several = runs[ONE], runs[case]
    assert _furthest(one.state, several.state) < 1e-5
    np.testing.assert_allclose(several.loss[0], one.loss[0], rtol=1e-5)
    start = NETWORK.init(jax.random.key(1))["params"]
    assert max(np.abs(one.state.params[n] - start[n]).max() for n in start) > 1e-2  # it did move


def test_all_devices_of_pmap_hold_the_same(runs: dict) -> None:
    for leaf in jax.tree.leaves(jax.tree.map(np.asarray, runs[EIGHT].placed)):
        assert leaf.shape[0] == 8 and (leaf == leaf[:1]).all()


def test_two_steps_a_call_are_one_and_one(runs: dict) -> None:
    assert _furthest(runs[ONE].state, runs[TWICE].state) < 1e-6
    assert int(runs[TWICE].state.step) == STEPS
    np.testing.assert_allclose(runs[TWICE].loss, runs[ONE].loss, rtol=1e-5)


@pytest.mark.parametrize(("kind", "micro_batches"), [("pmap", 4), ("fsdp", 1), ("fsdp", 2)])
def test_the_scan_of_gpu_and_tpu_gives_the_same(
    runs: dict, kind: str, micro_batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One program of four steps, which no CPU is given."""
    monkeypatch.setattr(programs, "_on_cpu", lambda: False)
    _compiled.cache_clear()
    scanned = _train(kind, 2, 4, micro_batches)
    _compiled.cache_clear()
    assert _furthest(runs[ONE].state, scanned.state) < 1e-5 and all(scanned.donated)
    np.testing.assert_allclose(scanned.loss[0], runs[ONE].loss[0], rtol=1e-5)


def test_a_train_step_traces_once_and_its_state_is_donated(runs: dict) -> None:
    for run in runs.values():
        assert run.traces == 1
        assert all(run.donated)


@pytest.mark.parametrize("part", ["params", "ema", "mu", "nu"])
def test_large_leaves_of_fsdp_are_cut_into_eighths_and_stay_so(runs: dict, part: str) -> None:
    """After four steps; small ones, the biases and the kernel of the time, are whole on every device."""
    placed = runs[CUT].placed
    moments = next(each for each in placed.opt_state if hasattr(each, "mu"))
    leaves = getattr(moments if part in ("mu", "nu") else placed, part)
    large = {name for name, leaf in leaves.items() if leaf.size >= 2**14}
    assert len(large) == 4 and len(leaves) == 10
    for name, leaf in leaves.items():
        sizes = {shard.data.size for shard in leaf.addressable_shards}
        assert len(leaf.addressable_shards) == 8
        assert sizes == {leaf.size // 8 if name in large else leaf.size}, name


def test_a_device_of_fsdp_holds_little_more_than_an_eighth(runs: dict) -> None:
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(runs[CUT].state))
    for device in jax.devices():
        held = [s.data.nbytes for x in jax.tree.leaves(runs[CUT].placed) for s in x.addressable_shards]
        here = [s.device for x in jax.tree.leaves(runs[CUT].placed) for s in x.addressable_shards]
        mine = sum(size for size, where in zip(held, here, strict=True) if where == device)
        assert total / 8 <= mine < MOST * total
    copies = jax.tree.leaves(runs[EIGHT].placed)
    assert sum(leaf.addressable_shards[0].data.nbytes for leaf in copies) == total  # what pmap needs on each


def test_leaves_are_cut_along_the_largest_axis_that_the_devices_divide() -> None:
    cut = kinds.create("fsdp", jax.devices())
    shapes = {(3, 3, 64, 128): 3, (3, 3, 128, 128): 3, (3, 3, 128, 64): 2, (3, 3, 100, 72): 3, (8, 3000): 1}
    for shape, axis in shapes.items():
        assert cut.sharding(shape).spec == PartitionSpec(*[None] * axis, "devices"), shape
    for shape in ((), (128,), (64, 128), (101, 999)):  # small, or no axis of theirs is a multiple of eight
        assert cut.sharding(shape).spec == PartitionSpec(), shape


def test_fsdp_gathers_weights_and_nothing_else(fast_to_compile: None) -> None:
    """The compiled step of one batch: what is gathered is the cut kernels, once; every product is of two examples."""
    over = kinds.create("fsdp", jax.devices())
    scores = over.spread(_plain(GreyLevels(17, True, "none")))
    batch, key = over.split({"image": IMAGES[:1]}), jax.random.key(0)

    def loss(params: dict, images: jax.Array) -> jax.Array:
        return jnp.mean(scores({"params": params, "fixed": {}}, {"image": images[0, 0]}, key, True)["loss"])

    params = over.place(NETWORK.init(jax.random.key(1))["params"])
    lies = jax.tree.map(lambda leaf: leaf.sharding, params)
    compiled = jax.jit(jax.grad(loss), out_shardings=lies).lower(params, batch["image"]).compile().as_text()
    lines = [line.partition(" = ")[2] for line in compiled.splitlines()]
    gathered = [line for line in lines if " all-gather(" in line]
    large = sorted(str(list(leaf.shape)).replace(" ", "") for leaf in params.values() if leaf.size >= 2**14)
    assert sorted(line.removeprefix("f32").partition("{")[0] for line in gathered) == large
    assert not any(f" {name}(" in line for line in lines for name in ("all-to-all", "collective-permute"))
    assert not any(line.startswith(f"f32[{BATCH},") for line in lines)  # of all examples at once


@pytest.mark.parametrize("case", [ONE_BY_FOUR, TWO_BY_FOUR, CUT_BY_FOUR])
def test_a_run_of_micro_batches_goes_on_bit_for_bit(runs: dict, case: tuple) -> None:
    """From the state of halfway, which a call of two steps ended or which lies between two calls."""
    rest = _train(*case, start=runs[case].half)
    jax.tree.map(np.testing.assert_array_equal, rest.state, runs[case].state)
    np.testing.assert_array_equal(rest.loss, runs[case].loss[:, 2:])


@pytest.mark.parametrize("then", [ONE, EIGHT, CUT, FOUR_CUT])
@pytest.mark.parametrize("first", [pytest.param(EIGHT, marks=pytest.mark.slow), CUT])
def test_a_checkpoint_goes_on_on_other_devices(runs: dict, first: tuple, then: tuple, tmp_path: Path) -> None:
    """Saved over eight after two steps; then the losses and the end of the run on one that nothing interrupted."""
    half = runs[first].half
    with Store(tmp_path) as store:
        store.save(2, half.to_tree())
        store.wait()
        _, tree, _ = store.restore(jax.eval_shape(_beginning).to_tree())
    rest = _train(*then, start=half.from_tree(tree))
    np.testing.assert_allclose(rest.loss[0], runs[ONE].loss[0][2:], rtol=1e-5)
    assert _furthest(runs[ONE].state, rest.state) < 1e-5
    assert int(half.step) == 2 and int(rest.state.step) == STEPS


def test_draws_differ_between_steps_examples_and_seeds() -> None:
    """An all-zero network shows the noise: its loss is the mean square of eps, different for every draw."""
    scores = jax.jit(_plain(GreyLevels(17, True, "uniform")), static_argnums=3)
    zero = jax.tree.map(jnp.zeros_like, NETWORK.init(jax.random.key(1)))
    keys = [jax.random.fold_in(KEY, n) for n in (0, 1)] + [jax.random.fold_in(jax.random.key(8), 0)]
    seen = np.concatenate([np.asarray(scores(zero, {"image": IMAGES[0]}, key, True)["loss"]) for key in keys])
    assert len(np.unique(seen)) == len(seen)
    np.testing.assert_array_equal(scores(zero, {"image": IMAGES[0]}, keys[0], True)["loss"], seen[:BATCH])


@pytest.mark.parametrize(("batch_size", "mend"), [(12, "try 8"), (3, "try 8"), (0, "try 8"), (30, "try 24")])
def test_a_batch_that_the_devices_do_not_divide_is_refused(batch_size: int, mend: str) -> None:
    with pytest.raises(ValueError, match=rf"batch_size is {batch_size}.*8 devices.*{mend}"):
        kinds.check_batch_size(batch_size)
    kinds.check_batch_size(24)
    with pytest.raises(ValueError, match=r"batch_size is 24.*8 devices times training.accumulate 2; try 16"):
        kinds.check_batch_size(24, 2)
    kinds.check_batch_size(32, 2)


def test_another_parallelism_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training\.parallelism is 'zero'; allowed are pmap, fsdp"):
        kinds.create("zero")
