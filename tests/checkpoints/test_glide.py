"""GLIDE's networks against outputs computed by their code, through the importer, from a file as torch writes it."""

import collections

import jax
import numpy as np
import pytest

from checkpoints import guided_diffusion, importing
from checkpoints.layout import spill
from models.functional import Network
from tests import torch_writer
from tests.models.glide_weights import FOLDER, arrays_of, network, nhwc, variables
from tests.oracles import compiled

IO = dict(np.load(FOLDER / "io.npz"))
TEXT = {"tokens": IO["tokens"].astype(np.int32), "mask": IO["mask"]}
KNOWN = {"known_image": nhwc(IO["inpaint_image"]), "known_mask": nhwc(IO["inpaint_mask"])}
LOW = {"low_res": nhwc(IO["low_res"])}


def close(found: jax.Array, expected: np.ndarray) -> None:
    np.testing.assert_array_less(np.abs(found - expected), 2e-5 * np.maximum(1, np.abs(expected)))


@pytest.mark.parametrize(
    ("output", "variant", "condition"),
    [
        pytest.param("output", "", {}, marks=pytest.mark.slow),
        pytest.param("output_inpaint", "inpaint", KNOWN, marks=pytest.mark.slow),
        pytest.param("output_inpaint_no_image", "inpaint", {}, marks=pytest.mark.slow),
        pytest.param("output_superres", "superres", LOW, marks=pytest.mark.slow),
        ("output_superres_inpaint", "superres_inpaint", LOW | KNOWN),
    ],
)
def test_outputs_are_those_of_glide(output, variant, condition):
    run = compiled(network(variant).apply)
    found = run(variables(variant), nhwc(IO["x"]), IO["timesteps"].astype(np.float32), TEXT | condition)
    close(found, nhwc(IO[output]))


def test_the_text_is_read_as_glide_reads_it():
    read = compiled(lambda v: network().module(v).transformer(TEXT["tokens"], TEXT["mask"]))
    features, pooled = read(variables())
    close(features, IO["xf_out"].transpose(0, 2, 1))
    close(pooled, IO["xf_proj"])


def test_a_file_of_torch_is_found_and_every_tensor_has_one_place(tmp_path):
    """In half precision, GLIDE's own parameters first, as nn.Module.state_dict gives them."""
    arrays = arrays_of()
    assert network().count() == sum(a.size for a in arrays.values()) == 368_838
    first = ("positional_embedding", "padding_embedding", "time_embed")
    names = sorted(arrays, key=lambda name: (not name.startswith(first), name))
    saved = collections.OrderedDict((name, np.asarray(arrays[name], np.float32)) for name in names)
    torch_writer.save(tmp_path / "base.pt", saved)
    assert importing.detect(tmp_path / "base.pt") == "guided_diffusion"
    weights = importing.read(tmp_path / "base.pt", network())
    assert weights.step == 0 and weights.params is weights.ema and not weights.fixed
    back = spill(network(), guided_diffusion.places(network()), weights.variables(ema=True))
    assert back.keys() == arrays.keys()
    for name, array in back.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"inpaint": True}, r"input_blocks\.0\.0\.weight \(32, 3, 3, 3\), expected \(32, 7, 3, 3\)"),
        ({"tokens": 9}, r"padding_embedding \(8, 16\), expected \(9, 16\)"),
        ({"vocabulary": 41}, r"token_embedding\.weight \(40, 16\), expected \(41, 16\)"),
        ({"text_layers": 1}, r"left over in the file \(12\): transformer\.resblocks\.1\."),
        ({"text_width": 8}, r"input_blocks\.3\.1\.encoder_kv\.weight \(64, 16, 1\), expected \(64, 8, 1\)"),
    ],
)
def test_what_does_not_fit_is_listed_by_its_name_there(other, message):
    built = Network.create("glide", **dict(network().options) | other)
    with pytest.raises(ValueError, match=message) as error:
        guided_diffusion.variables("base.pt", built, arrays_of())
    assert "\n" not in str(error.value)


def test_a_file_with_text_is_of_this_network_alone():
    plain = ("image_size", "num_channels", "nf", "ch_mult", "num_res_blocks", "attn_resolutions", "head_channels")
    guided = Network.create("guided_unet", **{name: dict(network().options)[name] for name in plain})
    with pytest.raises(ValueError, match=r"holds a network 'glide' and the config's .* is 'guided_unet'"):
        guided_diffusion.variables("base.pt", guided, arrays_of())
    without = {name: array for name, array in arrays_of().items() if "embedding" not in name}
    with pytest.raises(ValueError, match=r"holds a network 'guided_unet' and the config's .* is 'glide'"):
        guided_diffusion.variables("file.pt", network(), without)
