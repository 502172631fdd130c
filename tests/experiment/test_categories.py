"""Experiments whose data are categories: which settings go together, and texts as people see them."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import data
from autoencoders import Categories
from configs import default
from experiment import build, written
from experiment.pictures import save_decoded
from models import CATEGORICAL


def config_of(dataset: str, name: str, codec: str = "categories", **model) -> ConfigDict:
    config = default.get_config()
    with config.unlocked(), config.ignore_type():
        config.data.update(dataset=dataset, codec=codec)
        if dataset == "digits":
            config.data.update(image_size=8, num_channels=1)
        config.model.update(name=name, **model)
        if name in CATEGORICAL:
            config.sde = ConfigDict({"name": "masked"})
            config.sampling.method, config.eval.samplers = "unmasking", ("unmasking",)
    return config


SMALL = {"width": 8, "depth": 1, "num_heads": 2}


def test_networks_of_categories_are_made_for_the_data():
    text = build(config_of("pydoc_topics", "sequence_transformer", **SMALL))
    assert text.codec.information == ("bits/character", 1.0)
    options = dict(text.network.options)
    assert options["num_categories"] == len(text.source.alphabet) and options["shape"] == (128,)
    digits = build(config_of("digits", "categorical_unet", nf=4, ch_mult=(1,), attn_resolutions=()))
    assert digits.codec == Categories(17, (8, 8, 1)) and digits.codec.information == ("bits/dim", 1.0)
    options = dict(digits.network.options)
    assert options["num_categories"] == 17 and options["image_size"] == 8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (config_of("pydoc_topics", "mlp", "levels"), "model.name is 'mlp'|data.codec is 'levels', and .* are texts"),
        (config_of("pydoc_topics", "sequence_transformer", "levels", **SMALL), "are texts; set it to 'categories'"),
        (config_of("digits", "ncsnpp"), "data.codec is 'categories', and model.name 'ncsnpp': networks of categories"),
        (config_of("digits", "categorical_unet", "levels"), "go with data.codec='categories', and only they do"),
        (config_of("toy_moons", "sequence_transformer", **SMALL), "the data of 'toy_moons' are continuous"),
    ],
)
def test_what_does_not_go_together_is_one_line(config, message):
    with pytest.raises(ValueError, match=message) as error:
        build(config)
    assert "\n" not in str(error.value)


def test_categories_are_not_dequantised():
    config = config_of("digits", "categorical_unet", nf=4, ch_mult=(1,), attn_resolutions=())
    config.data.uniform_dequantization = True
    with pytest.raises(ValueError, match="uniform_dequantization is True, and categories"):
        build(config)


def test_samples_of_text_are_a_picture_to_read_and_a_file(tmp_path):
    source = data.create("pydoc_topics", length=100)
    codec = Categories.of_source(source, True, "none")
    examples = source.test[np.arange(3)]["image"]
    drawn = codec.decode(codec.encode(examples))
    save_decoded(tmp_path / "a.png", drawn, codec, {"dataset": "pydoc_topics"})
    texts = [source.alphabet.decode(row) for row in examples]
    assert (tmp_path / "a.txt").read_text() == "".join(f"[{i}]\n{text}\n" for i, text in enumerate(texts))
    lines = written.pictured(drawn, codec)
    assert lines.dtype == np.uint8 and lines.shape[0] == 3 and (lines == 0).any((1, 2, 3)).all()
    assert Image.open(tmp_path / "a.png").width >= lines.shape[2]
    one_line = Categories(2, (130,), modality="text", alphabet=data.alphabets.Characters("ab"))
    long, short = (written.pictured(np.zeros((1, n), int), one_line) for n in (130, 64))
    assert long.shape[1] - short.shape[1] == 2 * written.LINE  # 130 letters are three lines of 64 at most
