"""States of consistency_models_cifar10: what score_sde recorded, laid out as that later code lays it out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

import sde_lib
from checkpoints import importing
from configs.consistency import cifar10_cd_lpips
from experiment.build import network as network_of
from experiment.importing import import_weights
from experiment.weights import load
from experiment.workdir import Workdir
from models.functional import Network
from tests.models.published_weights import REFERENCE, compiled

FILE = REFERENCE / "jax" / "ve_ncsnpp_cont" / "checkpoint_24"
OPTIONS = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,), "fir": True}
OPTIONS |= {"progressive_input": "residual", "embedding_type": "fourier"}


def network(**options) -> Network:
    return Network.create("edm_unet", image_size=8, num_channels=3, **OPTIONS | options)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """A file of {step, lr, ema_rate, params, target_params, params_ema, model_state, opt_state, rng_state}."""
    saved = serialization.msgpack_restore(FILE.read_bytes())
    raw = saved["optimizer"]["target"]
    moments = {"count": np.int32(3), "mu": raw, "nu": raw}
    fields = {"step": np.int32(800_000), "lr": 4e-4, "ema_rate": 0.9999, "params": raw, "target_params": {}}
    fields |= {"params_ema": saved["params_ema"], "model_state": {}, "opt_state": {"0": moments, "1": {}}}
    path = tmp_path_factory.mktemp("cd-lpips") / "checkpoint_80"
    path.write_bytes(serialization.msgpack_serialize(fields | {"rng_state": {"0": np.zeros(2, np.uint32), "1": {}}}))
    return path


def test_a_state_gives_the_recorded_outputs(state):
    """The recorded network embeds the logarithm of the sigma it is told, and divides by sigma; here it is told that."""
    assert importing.detect(state) == "score_sde_jax"
    weights = importing.read(state, network())
    assert weights.step == 800_000 and weights.metadata == {"ema_decay": 0.9999}
    io = np.load(FILE.parent / "io.npz")
    apply, sigma = compiled(network().apply), io["labels"]
    for ema, kind in ((True, "ema"), (False, "raw")):
        found = apply(weights.variables(ema=ema), 2 * io["x"] - 1, np.log(sigma))
        wanted = io[f"out_{kind}"] * sigma[:, None, None, None]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-5 * np.abs(wanted).max())


@pytest.mark.slow
def test_a_config_imports_it_and_its_map_is_the_recorded_networks(state, tmp_path):
    config, workdir = cifar10_cd_lpips.get_config(), Workdir(tmp_path / "run")
    config.data.image_size = 8
    with config.unlocked():
        config.model.update(OPTIONS)
    assert import_weights(config, state, workdir) == 800_000
    sde = sde_lib.create(**config.sde)
    built = network_of(config, sde, (8, 8, 3))
    with workdir.store(read_only=True) as store:
        _, variables = load(store, built, ema=True, step=None)
    io = np.load(FILE.parent / "io.npz")
    quarter = np.log(io["labels"].astype(np.float64))  # what the recorded network embeds, log(sigma) / 4 here
    keep = np.exp(4 * quarter) < 80
    sigma, x, output = np.exp(4 * quarter[keep]), 2 * io["x"][keep] - 1, io["out_ema"][keep]
    each = sigma[:, None, None, None]
    output, x = output * io["labels"][keep][:, None, None, None], x * np.sqrt(each**2 + 0.25)
    wanted = 0.25 / ((each - 0.002) ** 2 + 0.25) * x + (each - 0.002) * 0.5 / np.sqrt(each**2 + 0.25) * output
    model = sde_lib.parameterization("eps", "t", config.model.preconditioning)
    apply = compiled(built.apply)
    jump = sde_lib.jump_fn(sde, model.predict_fn(sde, lambda x, c_noise: apply(variables, x, c_noise)))
    times = (jnp.asarray(part / 80, jnp.float32) for part in (sigma, np.full_like(sigma, 0.002)))
    np.testing.assert_allclose(jump(jnp.asarray(x, jnp.float32), *times), wanted, atol=2e-4 * np.abs(wanted).max())


def test_neither_layout_is_taken_for_the_other(state, tmp_path):
    """`ncsnpp` would take the logarithm of what is one, and no shape would tell."""
    ncsnpp = Network.create("ncsnpp", image_size=8, num_channels=3, **OPTIONS)
    assert jax.tree.map(np.shape, ncsnpp.abstract()) == jax.tree.map(np.shape, network().abstract())
    with pytest.raises(ValueError, match=r"holds a network 'edm_unet' and the config's model\.name is 'ncsnpp'"):
        importing.read(state, ncsnpp)
    with pytest.raises(ValueError, match="are of ncsnpp and ddpm, not of edm_unet"):
        importing.read(FILE, network())
    with pytest.raises(ValueError, match=r"not in the file .*; choose the config"):
        importing.read(state, network(label_dim=10))
    path = tmp_path / "checkpoint_1"
    for held in ({"params_ema": {}, "step": 1}, {"params": {}, "step": 1}):
        path.write_bytes(serialization.msgpack_serialize(held))
        with pytest.raises(ValueError, match="of consistency_models_cifar10 params in place of the optimizer"):
            importing.read(path, network())
