"""A picture that cannot be read ends a training or an evaluation in one line that names it; the last step is saved."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import data
import main
from checkpoints.store import Store
from configs.vp import folder_ddpmpp, toy_mixture8_mlp
from data.source import Source, Unreadable
from experiment import Failure

SEED, BATCH = 42, 8


class Points:
    """As many points; those of `bad` cannot be read."""

    def __init__(self, length: int, bad: tuple[int, ...] = ()):
        self.length, self.bad = length, bad

    def __len__(self) -> int:
        return self.length

    def fingerprint(self) -> str:
        return f"{self.length} points"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if index in self.bad:
            raise Unreadable(f"cannot read the image /pictures/{index}.png: it is cut short")
        return {"image": np.random.default_rng(index).normal(size=2).astype(np.float32)}


def _config() -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.seed = SEED
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=BATCH, n_iters=8, log_freq=8, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=8, snapshot_freq_for_preemption=8)
    return config


def _visited(step: int, length: int) -> np.ndarray:
    """The examples of a step of the first epoch."""
    return np.random.default_rng([SEED, 0]).permutation(length)[step * BATCH : (step + 1) * BATCH]


@pytest.mark.parametrize("step", [0, 5])
def test_a_training_saves_its_last_step_and_goes_on_after_the_mend(step, tmp_path, monkeypatch) -> None:
    """At the first step there is nothing to save; the other run goes on from its last step."""
    bad = int(_visited(step, 64)[2])
    train = Points(64, (bad,))
    source = Source("toy", train, Points(8), (2,), None, modality="vector")
    monkeypatch.setitem(data.SOURCES, "toy_mixture8", lambda: source)
    with pytest.raises(Failure) as failure:
        main.run("train", _config(), str(tmp_path / "run"))
    saved = f"step {step} is saved" if step else "no checkpoint had been saved yet"
    assert str(failure.value).startswith(
        f"cannot read the image /pictures/{bad}.png: it is cut short; {saved}; restore"
    )
    with Store(tmp_path / "run" / "checkpoints", read_only=True) as store:
        assert store.latest_step() == (step or None)
    if not step:
        return
    train.bad = ()
    main.run("train", _config(), str(tmp_path / "run"))
    with Store(tmp_path / "run" / "checkpoints", read_only=True) as store:
        assert store.latest_step() == 8


def test_an_unreadable_test_example_while_training(tmp_path, monkeypatch) -> None:
    """The loss on the test set is due at step 4, which is saved although no save is due."""
    source = Source("toy", Points(64), Points(8, (3,)), (2,), None, modality="vector")
    monkeypatch.setitem(data.SOURCES, "toy_mixture8", lambda: source)
    config = _config()
    config.training.eval_freq = 4
    with pytest.raises(Failure, match=r"/pictures/3\.png: it is cut short; step 4 is saved"):
        main.run("train", config, str(tmp_path / "run"))


@pytest.mark.slow
def test_an_evaluation_names_a_picture_that_was_damaged_since(tmp_path) -> None:
    """A picture of a folder's test set is emptied after the training; the evaluation names it."""
    for i in range(40):
        colours = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(colours).save(tmp_path / "pictures" / f"{i:02d}.png")
    config = folder_ddpmpp.get_config()
    with config.unlocked():
        config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
        config.data.update(path=str(tmp_path / "pictures"), image_size=8, test_fraction=0.3, verify=False)
    config.training.update(batch_size=8, n_iters=4, log_freq=2, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=4, snapshot_freq_for_preemption=2)
    config.eval.update(enable_sampling=False, enable_bpd=True, batch_size=8)
    main.run("train", config, str(tmp_path / "run"))
    test = data.create("folder", path=str(tmp_path / "pictures"), image_size=8, test_fraction=0.3).test
    test.files[1].write_bytes(b"")
    with pytest.raises(Unreadable, match=str(test.files[1])):
        main.run("evaluate", config, str(tmp_path / "run"))
