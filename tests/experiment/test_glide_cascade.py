"""GLIDE's recorded chains through the commands that people use: two files imported, a prompt, and what each draws."""

import collections
import importlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback
from ml_collections import ConfigDict

import main
import samplers
from configs import openai
from experiment.sampling import Drawer
from tests import torch_writer
from tests.models.glide_weights import arrays_of, network, nhwc

CHAIN = dict(np.load(Path(__file__).parents[1] / "reference" / "glide" / "chain.npz"))
NOISE, LOW = nhwc(CHAIN["chain/noise"][0][:2]), nhwc(CHAIN["up/low_res"])
TOLERANCE = 2e-4
"""The tolerance of float32, as the recorded chains' README has it."""
LETTERS = sorted({int(number) for number in CHAIN["chain/tokens"][CHAIN["chain/mask"]]})
END = int(CHAIN["chain/tokens"][0, -1])


def nhwc_all(images: np.ndarray) -> np.ndarray:
    """Images ..., C, H, W as ..., H, W, C."""
    return np.moveaxis(images, -3, -1)


def of_text(tokens: np.ndarray, mask: np.ndarray) -> str:
    """The text that the table reads as these tokens: a letter for each."""
    return "".join(chr(ord("a") + LETTERS.index(number)) for number in tokens[mask])


PROMPTS = [of_text(*each) for each in zip(CHAIN["chain/tokens"], CHAIN["chain/mask"], strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files as torch writes them, a table of byte pairs, the prompts, and the recorded start."""
    path = tmp_path_factory.mktemp("glide")
    for file, variant in (("base", ""), ("upsample", "superres")):
        arrays = {name: np.asarray(array, np.float32) for name, array in arrays_of(variant).items()}
        torch_writer.save(path / f"{file}.pt", collections.OrderedDict(sorted(arrays.items())))
    (path / "table").mkdir()
    numbers = {chr(ord("a") + i): number for i, number in enumerate(LETTERS)} | {"<|endoftext|>": END}
    (path / "table" / "encoder.json").write_text(json.dumps(numbers))
    (path / "table" / "vocab.bpe").write_text("#version: 0.2\n")
    (path / "prompts").write_text("\n".join(PROMPTS))
    np.save(path / "start.npy", NOISE)
    np.save(path / "small.npy", NOISE[:, :4, :4])
    return path


def config(folder: Path, size: int, variant: str, schedule: str, **sampling: Any) -> ConfigDict:
    """The recipe for GLIDE's files with the recorded network, DDIM on 5 of its levels."""
    options = dict(network(variant).options) | {"attn_resolutions": (size // 2,)}
    made = ("image_size", "num_channels", "centered", "dropout")
    options = {name: value for name, value in options.items() if name not in made}
    found = openai.glide(image_size=size, schedule=schedule, **options)
    found.data.tokenizer = f"glide:{folder / 'table'}"
    found.sampling.update(method="ddim", grid="5", evaluations=5, **sampling)
    found.eval.update(samplers=("ddim",), batch_size=2)
    return found


def drawn(run: Path, asked: ConfigDict) -> dict[str, np.ndarray]:
    """What --mode=sample of the run writes beside its picture."""
    before = set((run / "samples").glob("*.npz"))
    main.run("sample", asked, str(run))
    (file,) = set((run / "samples").glob("*.npz")) - before
    return dict(np.load(file))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["base_cfg", "base_cfg_ddim"])
def test_the_base_draws_the_recorded_pictures_of_its_prompts(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guidance 3, from the recorded noise; ancestral as published, with the noise of each step, and by DDIM."""
    draws = iter(nhwc_all(CHAIN["chain/noise"][1:, :2]).astype(np.float32))

    def recorded(key: Any, x: Any) -> Any:
        return io_callback(lambda: next(draws), jax.ShapeDtypeStruct(x.shape, x.dtype), ordered=True)

    monkeypatch.setattr(importlib.import_module("samplers.ancestral"), "normal_like", recorded)
    asked = config(folder, 16, "", "cosine", guidance=3.0)
    if case == "base_cfg":
        asked.sampling.update(method="ancestral", steps=4)
        asked.eval.samplers = ("ancestral",)
    main.run("import", asked, str(folder / case), str(folder / "base.pt"))
    start = {"start": str(folder / "start.npy"), "keep_latents": True, "prompt": f"@{folder / 'prompts'}"}
    asked.sampling.update(**start)
    found = drawn(folder / case, asked)
    assert list(found["texts"]) == PROMPTS
    np.testing.assert_allclose(found["latents"], nhwc(CHAIN[f"{case}/x"][-1][:2]), rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_the_cascade_draws_the_recorded_enlargement(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base of 4 pixels a side that draws what GLIDE's upsampler was given; the rest is as for everybody."""
    small = config(folder, 4, "", "cosine", guidance=3.0)
    larger = config(folder, 16, "superres", "linear", prior_scale=0.997)
    main.run("import", small, str(folder / "small"), str(folder / "base.pt"))
    main.run("import", larger, str(folder / "upsample"), str(folder / "upsample.pt"))
    follow = Drawer.follow

    def recorded(drawer: Drawer, key: Any, z: Any, i: int = 0, told: Any = None) -> Any:
        if z.shape[1] == 4:
            return 0.0, samplers.Samples(jnp.asarray(LOW, jnp.float32), jnp.full(2, 5))
        return follow(drawer, key, jnp.asarray(NOISE, jnp.float32), i, told)

    monkeypatch.setattr(Drawer, "follow", recorded)
    small.sampling.update(start=str(folder / "small.npy"), keep_latents=True, prompt=f"@{folder / 'prompts'}")
    small.sampling.upsampler = str(folder / "upsample")
    found = drawn(folder / "small", small)
    np.testing.assert_array_equal(found["small"], np.round(127.5 * (LOW + 1.0)))
    assert list(found["texts"]) == PROMPTS and list(found["evaluations_each"]) == [10, 10]
    np.testing.assert_allclose(found["latents"], nhwc(CHAIN["up_ddim/x"][-1]), rtol=0, atol=TOLERANCE)
    pictures = np.round(127.5 * (np.clip(nhwc(CHAIN["up_ddim/x"][-1]), -1, 1) + 1.0))
    assert np.abs(found["samples"] - pictures).max() <= 1
