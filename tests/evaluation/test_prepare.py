"""An evaluation looks for the data that it measures, before it looks for anything else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main
from configs.vp import digits
from experiment import Refusal
from experiment.workdir import Workdir


@pytest.mark.parametrize("measured", ["enable_bpd", "enable_vlb"])
def test_the_test_pictures_are_found_whatever_is_measured_of_them(measured: str, tmp_path: Path) -> None:
    """Without bits/dim the bound was refused for want of test images, which were there."""
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in range(4):
            Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(tmp_path / split / f"{i}.png")
    config = digits.get_config()
    with config.unlocked():
        config.data.update(dataset="folder", path=str(tmp_path / "train"), test_path=str(tmp_path / "test"))
    config.model.update(nf=4, ch_mult=(1,), attn_resolutions=(), num_res_blocks=1)
    config.eval.update(enable_bpd=False, enable_vlb=False, enable_sampling=False)
    config.eval[measured] = True
    Workdir(tmp_path / "run").begin(config)
    with pytest.raises(Refusal, match="no checkpoint"):
        main.run("evaluate", config, str(tmp_path / "run"))
