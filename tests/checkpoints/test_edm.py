"""EDM's networks inside their preconditionings against outputs computed by NVlabs' code, through the importer."""

import collections
import functools
import json
import pickle
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
import sde_lib
from checkpoints import edm, importing, safetensors_file
from checkpoints.torch_file import Persistent
from configs.edm import cifar10_uncond_vp
from experiment.build import network
from experiment.experiment import Experiment
from experiment.importing import import_weights
from experiment.weights import load
from experiment.workdir import Workdir
from models.attention import Attention
from models.functional import Network
from models.layers import Keys
from sde_lib.base import Process
from sde_lib.preconditioning import PRECONDITIONINGS
from tests.models.published_weights import compiled

NETWORKS = Path(__file__).parents[1] / "reference" / "networks"
WRAPPERS = [
    ("edm_ddpmpp", "EDMPrecond"),
    ("edm_ddpmpp", "VPPrecond"),
    ("edm_ncsnpp", "EDMPrecond"),
    ("edm_ncsnpp", "VEPrecond"),
    ("edm_adm", "EDMPrecond"),
]


def arguments_of(name: str, wrapper: str = "EDMPrecond") -> dict:
    arguments = json.loads((NETWORKS / name / "config.json").read_text())["wrappers"][wrapper]
    return {argument: value for argument, value in arguments.items() if argument != "precond"}


@functools.cache
def arrays_of(name: str) -> dict:
    return safetensors_file.load(NETWORKS / name / "model.safetensors")


@functools.cache
def loaded(name: str):
    """(network, its variables, its compiled function)."""
    kind, options = edm.network_options("EDMPrecond", arguments_of(name))
    network = Network.create(kind, **options)
    return network, edm.variables(name, network, arrays_of(name)), compiled(network.apply)


def nhwc(image):
    return image.transpose(0, 2, 3, 1)


class Unscaled(Process):
    """Noise added to data as it is: t is sigma."""

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return t


@pytest.mark.parametrize(("name", "wrapper"), WRAPPERS)
def test_outputs_are_those_of_edm(name, wrapper):
    network, variables, apply = loaded(name)
    kind, options = edm.network_options(wrapper, arguments_of(name, wrapper))
    assert Network.create(kind, **options) == network
    preconditioning = PRECONDITIONINGS[edm.preconditioning(wrapper, arguments_of(name, wrapper))]()
    io = {key.removeprefix(f"{wrapper}/"): value for key, value in np.load(NETWORKS / name / "io.npz").items()}
    x, sigma = jnp.asarray(nhwc(io["x"])), jnp.asarray(io["sigma"])
    each = sigma[:, None, None, None]
    labels = {"label": io["class_labels"]} if "class_labels" in io else {}
    plain = labels | {"augment": np.zeros_like(io["augment_labels"])}  # zeros are what is missing
    conditions = {"denoised": plain, "denoised_augment": labels | {"augment": io["augment_labels"]}}
    if labels:  # once left out, once zeros
        conditions["denoised_no_label"] = (
            None if name == "edm_ncsnpp" else {n: np.zeros_like(c) for n, c in plain.items()}
        )

    c_noise = preconditioning.c_noise(sigma)
    # The published label of VP loses digits of log(1 + sigma^2) at small sigma: here it has them.
    np.testing.assert_allclose(c_noise, io["c_noise"], rtol=2e-6, atol=5e-4 if wrapper == "VPPrecond" else 0)
    output = apply(variables, preconditioning.c_in(each) * x, c_noise, plain)
    np.testing.assert_allclose(output, nhwc(io["network_output"]), rtol=0, atol=1e-3)

    tolerance = (5e-4 if name == "edm_ncsnpp" else 1e-4) * np.maximum(1, each)
    for what, condition in conditions.items():

        def denoiser(x, c_noise, condition=condition):
            return apply(variables, x, c_noise, condition)

        eps = preconditioning.predict_fn(Unscaled(), denoiser)(jnp.asarray(x), jnp.asarray(sigma)).eps
        assert (np.abs(x - each * eps - nhwc(io[what])) < tolerance).all(), what
        x0, other = preconditioning.x0_eps(denoiser(preconditioning.c_in(each) * x, c_noise), x, each)
        assert (np.abs(x0 - nhwc(io[what])) < tolerance).all(), what
        np.testing.assert_allclose(other, eps, rtol=1e-5, atol=1e-5)


def tree_of(arrays: dict, class_name: str, arguments: dict) -> Persistent:
    """What torch_file makes of a snapshot: modules within modules, buffers apart from parameters."""

    def module(arrays: dict, kind: str, **more) -> Persistent:
        own = {name: array for name, array in arrays.items() if "." not in name}
        inner = collections.defaultdict(dict)
        for name, array in arrays.items():
            if "." in name:
                head, rest = name.split(".", 1)
                inner[head][rest] = array
        state = {
            "training": False,
            "_parameters": {n: a for n, a in own.items() if n not in ("resample_filter", "freqs")} | {"absent": None},
            "_buffers": {n: a for n, a in own.items() if n in ("resample_filter", "freqs")} | {"nothing": None},
            "_modules": {name: module(arrays, "Inner") for name, arrays in inner.items()} | {"left_out": None},
        }
        return Persistent("persistence", kind, state | more)

    return module(arrays, class_name, _init_args=(), _init_kwargs=arguments)


def snapshot(path: Path, monkeypatch, tree: Persistent, **more) -> Path:
    """A file as EDM's train.py writes it, its modules reduced as torch_utils.persistence does; arrays as NumPy's.

    `more` is beside the network.
    """

    def reconstruct(meta):
        raise AssertionError("nothing in a snapshot is run")

    class Module:
        def __init__(self, persistent: Persistent):
            self.persistent = persistent

        def __reduce__(self):
            state = {name: value for name, value in self.persistent.state.items() if name != "_init_kwargs"}
            state["_modules"] = collections.OrderedDict(
                (n, ModuleDict(m) if n in ("enc", "dec") else m and Module(m)) for n, m in state["_modules"].items()
            )
            state["_init_kwargs"] = EasyDict(self.persistent.state.get("_init_kwargs", {}))
            meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "state": state}
            return reconstruct, ({**meta, "class_name": self.persistent.class_name},)

    class ModuleDict:
        def __init__(self, persistent: Persistent):
            inner = {name: Module(module) for name, module in persistent.state["_modules"].items() if module}
            self.__dict__.update(training=False, _parameters={}, _buffers={}, _modules=collections.OrderedDict(inner))

    class EasyDict(dict):
        pass

    for module, thing, name in (
        ("torch_utils.persistence", reconstruct, "_reconstruct_persistent_obj"),
        ("torch.nn.modules.container", ModuleDict, "ModuleDict"),
        ("dnnlib.util", EasyDict, "EasyDict"),
    ):
        thing.__module__, thing.__qualname__, thing.__name__ = module, name, name
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        setattr(sys.modules[module], name, thing)
    saved = {"ema": Module(tree), "loss_fn": None, "dataset_kwargs": EasyDict(path="x")}
    path.write_bytes(pickle.dumps(saved | more, 4))
    return path


def test_a_file_becomes_a_run_whose_score_is_the_published_denoisers(tmp_path, monkeypatch):
    """import_weights with an experiment's config, then (D - x) / sigma^2."""
    arguments = arguments_of("edm_ddpmpp") | {"channel_mult": [1, 2]}
    tree = tree_of({name: np.array(array) for name, array in arrays_of("edm_ddpmpp").items()}, "EDMPrecond", arguments)
    config = cifar10_uncond_vp.get_config()
    with config.unlocked():
        config.data.image_size = 16
        config.model.update(nf=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,))
    with monkeypatch.context() as patch:
        file = snapshot(tmp_path / "network-snapshot.pkl", patch, tree)
    workdir = Workdir(tmp_path / "run")
    assert import_weights(config, file, workdir) == 0
    sde = sde_lib.create(**config.sde)
    built = network(config, sde, (16, 16, 3))
    with workdir.store(read_only=True) as store:
        _, variables = load(store, built, ema=True, step=None)
    experiment = Experiment(config, sde, None, None, built, samplers.Settings(**config.sampling))

    io = np.load(NETWORKS / "edm_ddpmpp" / "io.npz")
    x, sigma = jnp.asarray(nhwc(io["x"])), io["sigma"].astype(np.float64)
    t = jnp.asarray(sigma / 80.0, jnp.float32)
    score_of = compiled(
        lambda x, t, augment: experiment.predict_fn(variables, condition={"augment": augment}).score(x, t)
    )
    for what, augment in (("denoised", 0 * io["augment_labels"]), ("denoised_augment", io["augment_labels"])):
        each = sigma[:, None, None, None]
        expected = (nhwc(io[f"EDMPrecond/{what}"]) - x) / each
        found = score_of(x, t, augment) * each
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max())


def read(monkeypatch, saved, network):
    monkeypatch.setattr(edm.torch_file, "load", lambda path, **options: saved)
    return edm.read("snapshot.pkl", network)


@pytest.mark.parametrize("name", ["edm_ddpmpp", "edm_ncsnpp", "edm_adm"])
def test_a_snapshot_is_read_as_its_arrays_are(name, monkeypatch):
    network, variables, _ = loaded(name)
    tree = tree_of(arrays_of(name), "EDMPrecond", arguments_of(name))
    found = edm.state_dict(tree)
    assert found.keys() == arrays_of(name).keys()
    weights = read(monkeypatch, {"ema": tree, "loss_fn": None}, network)
    assert weights.metadata == {"preconditioning": "edm"} and weights.step == 0
    for collection, values in (("params", weights.ema), ("params", weights.params), ("fixed", weights.fixed)):
        assert values.keys() == variables[collection].keys()
        for key, array in values.items():
            np.testing.assert_array_equal(array, variables[collection][key])


class Loss:
    """What another paper keeps beside its network: settings, its own methods, other networks, classes and functions."""

    def __init__(self, reference):
        self.q, self.mapping, self.reference = 2.0, self.sigmoid, reference
        self.made_of = {"class": Loss, "function": json.loads, "path": Path("x"), "deque": collections.deque([1, 2])}

    def sigmoid(self, t):
        raise AssertionError("nothing in a snapshot is run")


class Plain:
    """A module of PyTorch's own: a class of no known name with a module's dictionary."""


def test_a_snapshot_of_easy_consistency_tuning_is_read_beside_whatever_it_holds(tmp_path, monkeypatch):
    """Its map is the recorded output F inside the boundary condition, which is x itself at 0.003."""
    arguments = arguments_of("edm_ddpmpp")
    del arguments["sigma_min"]  # as in its training script, so it is the class's own
    tree = tree_of({name: np.array(array) for name, array in arrays_of("edm_ddpmpp").items()}, "ECMPrecond", arguments)
    with monkeypatch.context() as patch:
        other = Plain()
        other.__dict__.update(_parameters={"weight": np.ones(3)}, _buffers={}, _modules={})
        file = snapshot(tmp_path / "network-snapshot-latest.pkl", patch, tree, loss_fn=Loss(other), extra={Loss, print})
    network, expected, apply = loaded("edm_ddpmpp")
    weights = importing.read(file, network)
    assert weights.metadata == {"preconditioning": "ect"}
    for name, array in weights.ema.items():
        np.testing.assert_array_equal(array, expected["params"][name])

    io = np.load(NETWORKS / "edm_ddpmpp" / "io.npz")
    x, sigma, output = nhwc(io["x"]), io["sigma"], nhwc(io["EDMPrecond/network_output"])
    each = sigma[:, None, None, None].astype(np.float64)
    wanted = 0.25 / ((each - 0.003) ** 2 + 0.25) * x + (each - 0.003) * 0.5 / np.sqrt(each**2 + 0.25) * output
    predict = PRECONDITIONINGS["ect"]().predict_fn(Unscaled(), functools.partial(apply, weights.variables(ema=True)))
    jump, end = sde_lib.jump_fn(Unscaled(), predict), jnp.full(len(sigma), 0.003)
    found = jump(jnp.asarray(x), jnp.asarray(sigma), end)
    assert (np.abs(found - wanted) < 1e-4 * np.maximum(1, each)).all()
    np.testing.assert_allclose(jump(jnp.asarray(x), end, end), x, rtol=1e-5, atol=1e-6)


def test_a_network_of_unknown_names_is_refused_in_one_line(tmp_path, monkeypatch):
    """The network itself must be what EDM's code made: of another class nothing says what it was constructed with."""
    plain = Plain()
    plain.__dict__.update(_parameters={"weight": np.ones(3)}, _buffers={}, _modules={})
    tree = tree_of(arrays_of("edm_ddpmpp"), "EDMPrecond", arguments_of("edm_ddpmpp"))
    for held, message in (
        ({"ema": plain}, "Plain is no preconditioning of EDM's"),
        ({"ema": Path("x")}, "Path is no preconditioning"),
        ({"ema": None, "net": plain}, "holds no module called 'ema'"),
    ):
        with monkeypatch.context() as patch:
            file = snapshot(tmp_path / "x.pkl", patch, tree, **held)
        with pytest.raises(ValueError, match=message) as error:
            importing.read(file, loaded("edm_ddpmpp")[0])
        assert "\n" not in str(error.value)


def test_arguments_without_a_name_count_too(monkeypatch):
    network, _, _ = loaded("edm_adm")
    arguments = arguments_of("edm_adm")
    tree = tree_of(arrays_of("edm_adm"), "EDMPrecond", arguments)
    tree.state["_init_args"] = (arguments.pop("img_resolution"), arguments.pop("img_channels"))
    read(monkeypatch, {"ema": tree}, network)
    tree.state["_init_args"] = (16, 3, 10, False, 0)
    with pytest.raises(ValueError, match="5 arguments without a name"):
        read(monkeypatch, {"ema": tree}, network)


def test_other_files_and_networks_are_refused(monkeypatch):
    network, _, _ = loaded("edm_ddpmpp")
    for saved in ([], {"model": 1}, {"ema": {"weight": 1}}):
        with pytest.raises(ValueError, match="no snapshot of EDM's: it holds no module called 'ema'"):
            read(monkeypatch, saved, network)
    tree = tree_of(arrays_of("edm_ddpmpp"), "EDMPrecond", arguments_of("edm_ddpmpp"))
    other = Network.create("edm_unet", **dict(network.options) | {"nf": 16, "fir": True, "dropout": 0.0})
    with pytest.raises(ValueError, match="nf is 16, in the file 8; fir is True, in the file False; change the config"):
        read(monkeypatch, {"ema": tree}, other)
    with pytest.raises(ValueError, match=r"holds a network 'edm_unet' and the config's model\.name is 'adm'"):
        read(monkeypatch, {"ema": tree}, loaded("edm_adm")[0])
    tree.state["_modules"]["model"].state["_modules"]["map_layer0"] = object()
    with pytest.raises(ValueError, match=r"model\.map_layer0 is no module but object"):
        read(monkeypatch, {"ema": tree}, network)


def test_two_heads_attend_as_edm_has_them():
    """The recorded networks have one head: here each of two from its rows of qkv, in EDM's order, with NumPy."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 2, 3, 8))
    weight, bias = random.normal(size=(24, 8, 1, 1)), random.normal(size=24)
    tokens = x.reshape(6, 8)
    normed = (tokens - tokens.mean()) / np.sqrt(tokens.var() + 1e-5)
    rows = (weight[:, :, 0, 0] @ normed.T + bias[:, None]).reshape(2, 4, 3, 6)  # heads, channels, q k v, pixels
    attended = []
    for query, key, value in rows.transpose(0, 2, 1, 3):
        logits = query.T @ key / 2  # sqrt(4)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        attended.append(value @ (weights / weights.sum(1, keepdims=True)).T)
    expected = tokens + np.concatenate(attended).T

    options = {"groups": lambda _: 1, "init_scale": 1.0, "skip_rescale": False, "dtype": None}
    attention = Attention(8, heads=2, epsilon=1e-5, rngs=Keys(jax.random.key(0)), **options)
    parts = zip(edm.QKV, edm.split_qkv(weight), edm.split_qkv(bias), strict=True)
    for part, kernel, shift in parts:
        layer = getattr(attention, part)
        layer.kernel.set_value(jnp.asarray(kernel[:, :, 0, 0].T)), layer.bias.set_value(jnp.asarray(shift))
    attention.out.kernel.set_value(jnp.eye(8))
    found = compiled(attention)(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found.reshape(6, 8), expected, rtol=2e-5, atol=2e-5)


def test_arrays_that_do_not_fit_are_listed():
    network, _, _ = loaded("edm_ddpmpp")
    arrays = dict(arrays_of("edm_ddpmpp"))
    arrays["model.extra"] = arrays.pop("model.enc.8x8_block0.proj.bias")
    arrays["model.enc.16x16_conv.weight"] = arrays["model.enc.16x16_conv.weight"][:, :1]
    del arrays["model.enc.8x8_block0.qkv.weight"]
    with pytest.raises(ValueError) as error:
        edm.variables("x.pkl", network, arrays)
    for part in (
        "not in the file (4): ",
        "model.enc.8x8_block0.proj.bias",
        "model.enc.8x8_block0.qkv.weight:query",
        "left over in the file (1): model.extra",
        "of another shape (1): model.enc.16x16_conv.weight (8, 1, 3, 3), expected (8, 3, 3, 3)",
    ):
        assert part in str(error.value)
    edm.variables("x.pkl", network, arrays_of("edm_ddpmpp") | {"u": np.zeros(1001)})  # iDDPM's table follows from M
    arrays = dict(arrays_of("edm_ddpmpp"))
    arrays["model.enc.8x8_down.skip.resample_filter"] = np.eye(2, dtype=np.float32)[None, None]
    with pytest.raises(ValueError, match=r"8x8_down\.skip\.resample_filter in x\.pkl is not the network's filter"):
        edm.variables("x.pkl", network, arrays)


@pytest.mark.parametrize(
    ("wrapper", "change", "message"),
    [
        (
            "EDMPrecond",
            {"channel_mult_noise": 2, "channel_mult_emb": 2},
            "channel_mult_emb is 2, not 4; channel_mult_noise",
        ),
        ("EDMPrecond", {"channel_multiplier": 2}, "channel_multiplier is not known"),
        ("EDMPrecond", {"sigma_data": 1.0}, "sigma_data 1.0, not 0.5"),
        ("EDMPrecond", {"model_type": "UNet"}, "model_type is 'UNet'; known are SongUNet, DhariwalUNet"),
        ("EDMLoss", {}, "EDMLoss is no preconditioning of EDM's"),
        ("iDDPMPrecond", {}, "SongUNet with a learned variance"),
        ("ECMPrecond", {"sigma_min": 0.002}, "sigma_min 0.002, not 0.003"),
    ],
)
def test_what_our_networks_cannot_be_is_refused(wrapper, change, message):
    with pytest.raises(ValueError, match=message):
        edm.network_options(wrapper, arguments_of("edm_ddpmpp") | change)


def test_what_a_snapshot_does_not_say_is_edms_default():
    size = {"img_resolution": 64, "img_channels": 3}
    kind, options = edm.network_options("EDMPrecond", size)
    assert (kind, options["nf"], options["ch_mult"], options["attn_resolutions"]) == (
        "adm",
        192,
        (1, 2, 3, 4),
        (32, 16, 8),
    )
    kind, options = edm.network_options("VPPrecond", size)
    assert (kind, options["nf"], options["ch_mult"], options["attn_resolutions"]) == (
        "edm_unet",
        128,
        (1, 2, 2, 2),
        (16,),
    )
    _, options = edm.network_options("iDDPMPrecond", size)
    assert options["out_channels"] == 6
    Network.create("adm", **options)
