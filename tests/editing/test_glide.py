"""GLIDE's recorded inpainting through --mode=edit: a file imported, two pictures with a mask and a prompt each."""

import collections
import importlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental import io_callback
from PIL import Image

import main
from sde_lib.base import AffineSDE
from tests import torch_writer
from tests.experiment.test_glide_cascade import CHAIN, PROMPTS, TOLERANCE, config, nhwc_all
from tests.experiment.test_glide_cascade import folder as folder
from tests.models.glide_weights import arrays_of, nhwc


@pytest.mark.slow
def test_glides_inpainting_is_met(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guidance 5, ancestral, from the recorded noise; what is known is told and written over in each step."""
    weights = {name: np.asarray(array, np.float32) for name, array in arrays_of("inpaint").items()}
    torch_writer.save(tmp_path / "inpaint.pt", collections.OrderedDict(sorted(weights.items())))
    asked, pictures = config(folder, 16, "inpaint", "cosine", guidance=5.0), nhwc(CHAIN["inpaint/image"])
    asked.sampling.update(method="ancestral", steps=4)
    asked.eval.samplers = ("ancestral",)
    main.run("import", asked, str(tmp_path / "run"), str(tmp_path / "inpaint.pt"))

    noise = nhwc_all(CHAIN["chain/noise"]).astype(np.float32)
    draws = iter([noise[step, i : i + 1] for i in range(2) for step in range(5)])  # of each the start, then four steps

    def recorded(shape: tuple[int, ...]) -> Any:
        return io_callback(lambda: next(draws), jax.ShapeDtypeStruct(shape, np.float32), ordered=True)

    monkeypatch.setattr(importlib.import_module("samplers.ancestral"), "normal_like", lambda key, x: recorded(x.shape))
    monkeypatch.setattr(AffineSDE, "prior_sample", lambda self, key, shape: recorded(shape))
    monkeypatch.setattr("editing.pictures.given", lambda *args, **options: (pictures + 1.0) / 2.0)
    (tmp_path / "masks").mkdir()
    known = CHAIN["inpaint/mask"][:, 0] > 0.5
    for i in range(2):
        Image.fromarray(np.uint8(255 * known[i])).save(tmp_path / "masks" / f"{i}.png")
    asked.sampling.update(prompt=f"@{folder / 'prompts'}", keep_latents=True)
    asked.edit.update(count=1, mask=str(tmp_path / "masks"), image="given")
    main.run("edit", asked, str(tmp_path / "run"))

    (file,) = (tmp_path / "run" / "edits").glob("*.npz")
    found = dict(np.load(file))
    assert list(found["texts"]) == PROMPTS and str(found["task"]) == "inpaint by consistent"
    expected = nhwc(CHAIN["inpaint_cfg/x"][-1])
    np.testing.assert_allclose(found["latents"][:, 0], expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found["latents"][:, 0][known], pictures[known], atol=1e-6)
