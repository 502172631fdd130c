"""Inception-v3 as the FID network: its three feature sets, exactly as published statistics were computed with.

The network of 2015-12-05 that Heusel et al. 2017 chose, as `pt_inception-2015-12-05-6726825d.pth` stores it. It is
not the Inception-v3 of the model zoos: average pools count no padding, the last mixed block takes the maximum of its
3x3 neighbourhood where the one before takes the average, there are 1008 classes and no auxiliary head.
Convolutions have no bias and are followed by a batch norm (eps 1e-3), folded into them here, and by ReLU.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Shaped

SIDE = 299
RESIZES = ("pytorch", "tf1")
BN_EPS = 1e-3
BN_PARTS = ("weight", "bias", "running_mean", "running_var")
SPATIAL_CHANNELS = 7
Weights = dict[str, Array]
Conv = Callable[..., Array]


class Features(NamedTuple):
    """What the metrics take of a batch: FID, KID and precision `pool`, the Inception Score `logits`, sFID `spatial`."""

    pool: Float[Array, "b 2048"]
    logits: Float[Array, "b 1008"]  # without the bias of the last layer
    spatial: Float[Array, "b 2023"]  # 17 x 17 x 7


def _pool(combine: Callable[[Array, Array], Array], x: Array, stride: int) -> Array:
    """Combine 3x3 windows along height, then width, which on CPU is twice as fast as lax.reduce_window."""
    for axis in (1, 2):
        last = x.shape[axis] - 2
        x = functools.reduce(combine, [lax.slice_in_dim(x, i, last + i, stride, axis) for i in range(3)])
    return x


def _padded(x: Array, value: float) -> Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=value)


def _max_pool(x: Array) -> Array:
    """Maximum of 3x3 at stride 2, unpadded."""
    return _pool(jnp.maximum, x, 2)


def _max_near(x: Array) -> Array:
    """Maximum over the 3x3 neighbours that there are."""
    return _pool(jnp.maximum, _padded(x, -jnp.inf), 1)


def _mean_near(x: Array) -> Array:
    """Mean over the 3x3 neighbours that there are: padding is not counted."""
    near = [np.convolve(np.ones(side), np.ones(3), "same") for side in x.shape[1:3]]
    return _pool(jnp.add, _padded(x, 0.0), 1) / jnp.asarray(np.outer(*near)[None, :, :, None], x.dtype)


Branches = dict[str, list[tuple]]
"""The branches of a block by name, each a chain of convolutions: the end of its name, channels, kernel and stride."""

AT_35: Branches = {
    "branch1x1": [("", 64)],
    "branch5x5": [("_1", 48), ("_2", 64, (5, 5))],
    "branch3x3dbl": [("_1", 64), ("_2", 96, (3, 3)), ("_3", 96, (3, 3))],
}
TO_17: Branches = {
    "branch3x3": [("", 384, (3, 3), 2)],
    "branch3x3dbl": [("_1", 64), ("_2", 96, (3, 3)), ("_3", 96, (3, 3), 2)],
}
TO_8: Branches = {
    "branch3x3": [("_1", 192), ("_2", 320, (3, 3), 2)],
    "branch7x7x3": [("_1", 192), ("_2", 192, (1, 7)), ("_3", 192, (7, 1)), ("_4", 192, (3, 3), 2)],
}
AT_8: Branches = {
    "branch1x1": [("", 320)],
    "branch3x3": [("_1", 384)],
    "branch3x3dbl": [("_1", 448), ("_2", 384, (3, 3))],
}


def _at_17(width: int) -> Branches:
    row, column = (width, (1, 7)), (width, (7, 1))
    return {
        "branch1x1": [("", 192)],
        "branch7x7": [("_1", width), ("_2", *row), ("_3", 192, (7, 1))],
        "branch7x7dbl": [("_1", width), ("_2", *column), ("_3", *row), ("_4", *column), ("_5", 192, (1, 7))],
    }


def _mixed(conv: Conv, name: str, x: Array, branches: Branches, pooled: Array, channels: int = 0) -> list[Array]:
    """The outputs of a block's branches; the last is of what is pooled, with a convolution where it has channels."""
    out = []
    for branch, chain in branches.items():
        y = x
        for suffix, *options in chain:
            y = conv(f"Mixed_{name}.{branch}{suffix}", y, *options)
        out.append(y)
    return [*out, conv(f"Mixed_{name}.branch_pool", pooled, channels) if channels else pooled]


def _forked(conv: Conv, name: str, x: Array, pooled: Array) -> Array:
    """A block of 8 x 8, whose two longer branches fork into a row and a column."""
    short, *stems, last = _mixed(conv, name, x, AT_8, pooled, 192)
    forks = [
        conv(f"Mixed_{name}.{branch}{end}", stem, 384, kernel)
        for stem, branch in zip(stems, ("branch3x3_2", "branch3x3dbl_3"), strict=True)
        for end, kernel in (("a", (1, 3)), ("b", (3, 1)))
    ]
    return _joined([short, *forks, last])


def _joined(parts: list[Array]) -> Array:
    return jnp.concatenate(parts, axis=-1)


def _body(conv: Conv, x: Array) -> dict[str, Array]:
    """The outputs of the stages of x [b, 299, 299, 3] by their channels, and `spatial`; convolutions by torch name."""
    x = conv("Conv2d_1a_3x3", x, 32, (3, 3), 2, "VALID")
    x = conv("Conv2d_2a_3x3", x, 32, (3, 3), 1, "VALID")
    x = conv("Conv2d_2b_3x3", x, 64, (3, 3))
    stages = {"64": (x := _max_pool(x))}
    x = conv("Conv2d_3b_1x1", x, 80)
    x = conv("Conv2d_4a_3x3", x, 192, (3, 3), 1, "VALID")
    stages["192"] = x = _max_pool(x)
    for name, channels in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _joined(_mixed(conv, name, x, AT_35, _mean_near(x), channels))
    x = _joined(_mixed(conv, "6a", x, TO_17, _max_pool(x)))
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        parts = _mixed(conv, name, x, _at_17(width), _mean_near(x), 192)
        if name == "6d":
            stages["spatial"] = parts[0][..., :SPATIAL_CHANNELS]
        x = _joined(parts)
    stages["768"] = x
    x = _joined(_mixed(conv, "7a", x, TO_8, _max_pool(x)))
    x = _forked(conv, "7b", x, _mean_near(x))
    stages["2048"] = _forked(conv, "7c", x, _max_near(x))
    return stages


def taps(weights: Weights, x: Float[Array, "b 299 299 3"]) -> dict[str, Float[Array, "b _"]]:
    """Every feature of resized, normalised images: means over space "64", "192", "768", "2048"; "logits"; "spatial".

    "spatial" is sFID's: the first 7 of the 192 channels of `mixed_6/conv` in the graph of 2015 (Nash et al. 2021;
    guided-diffusion's evaluator, FID_SPATIAL_NAME), 17 x 17 x 7 after ReLU, flattened. There `mixed` is the first
    35 x 35 block, so `mixed_6` is the third of 17 x 17, and its `conv`, without a tower, the 1x1 branch:
    `Mixed_6d.branch1x1` (torch-fidelity's table of names for its converted weights).
    """
    stages = _body(functools.partial(_convolve, weights), x)
    out = {name: stage.mean(axis=(1, 2)) for name, stage in stages.items() if name != "spatial"}
    out["spatial"] = stages["spatial"].reshape(len(x), -1)
    out["logits"] = jnp.matmul(out["2048"], weights["fc.kernel"], precision="highest")
    return out


def _convolve(
    weights: Weights, name: str, x: Array, _channels: int, _kernel: Any = (), stride: int = 1, padding: Any = None
) -> Array:
    """Convolution, the folded batch norm and ReLU; strided ones are unpadded, the others keep the size by default."""
    padding = padding or ("SAME" if stride == 1 else "VALID")
    x = lax.conv_general_dilated(
        x,
        weights[f"{name}.kernel"],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",  # a GPU or TPU would multiply in 10 or 8 bits, which moves a small FID
    )
    return jax.nn.relu(x + weights[f"{name}.bias"])


@functools.cache
def layout() -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of the published file, by their names in it: read off a trace of the network."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(
        name: str, x: Array, channels: int, kernel: tuple[int, ...] = (1, 1), stride: int = 1, padding: Any = None
    ) -> Array:
        shapes[f"{name}.conv.weight"] = (channels, x.shape[-1], *kernel)
        shapes.update(dict.fromkeys([f"{name}.bn.{part}" for part in BN_PARTS], (channels,)))
        blank = {f"{name}.kernel": jnp.zeros((*kernel, x.shape[-1], channels)), f"{name}.bias": jnp.zeros(channels)}
        return _convolve(blank, name, x, channels, kernel, stride, padding)

    jax.eval_shape(functools.partial(_body, conv), jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32))
    return {**shapes, "fc.weight": (1008, 2048), "fc.bias": (1008,)}


def fold(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The network's weights from the file's tensors; each batch norm goes into its convolution, in float64.

    Raises:
      ValueError: tensors missing, left over (`num_batches_tracked` may be there) or of another shape; it lists them.
    """
    expected = layout()
    given = {name: np.shape(t) for name, t in tensors.items() if not name.endswith(".num_batches_tracked")}
    wrong = {
        "missing": [name for name in expected if name not in given],
        "left over": [name for name in given if name not in expected],
        "misshaped": [
            f"{name} {given[name]} for {shape}" for name, shape in expected.items() if given.get(name, shape) != shape
        ],
    }
    if any(wrong.values()):
        told = [
            f"{len(names)} {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for what, names in wrong.items()
            if names
        ]
        raise ValueError(
            f"these are not the weights of the FID Inception-v3 ({'; '.join(told)}); "
            "they are in pt_inception-2015-12-05-6726825d.pth of pytorch-fid's releases"
        )
    weights = {"fc.kernel": np.asarray(tensors["fc.weight"], np.float32).T}
    for name in (n.removesuffix(".conv.weight") for n in expected if n.endswith(".conv.weight")):
        gamma, beta, mean, variance = (np.asarray(tensors[f"{name}.bn.{part}"], np.float64) for part in BN_PARTS)
        scale = gamma / np.sqrt(variance + BN_EPS)
        kernel = np.asarray(tensors[f"{name}.conv.weight"], np.float64).transpose(2, 3, 1, 0) * scale
        weights[f"{name}.kernel"] = kernel.astype(np.float32)
        weights[f"{name}.bias"] = (beta - mean * scale).astype(np.float32)
    return weights


def _interpolation(size: int, resize: str) -> np.ndarray:
    """Bilinear weights [299, size] between neighbouring pixels, whatever the scale: no antialias."""
    if resize == "pytorch":
        at = (np.arange(SIDE) + 0.5) * (size / SIDE) - 0.5
    else:
        at = np.arange(SIDE) * np.float64(np.float32(size / SIDE))  # TensorFlow held the scale in float32: 2e-3 levels
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(int)
    matrix = np.zeros((SIDE, size))
    np.add.at(matrix, (np.arange(SIDE), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(SIDE), np.minimum(low + 1, size - 1)), at - low)
    return matrix.astype(np.float32)


def resized(images: Shaped[Array, "b h w 3"], resize: str) -> Float[Array, "b 299 299 3"]:
    """Images at 299 x 299 on their own scale, bilinear between the nearest pixels, without antialias.

    Pixel i of the result lies at the source's (i + 1/2) in / out - 1/2 ("pytorch") or i in / out ("tf1": the graph of
    2015 knew no half-pixel centres), cut off at the border.

    Raises:
      ValueError: images of another form, or an unknown resize.
    """
    if resize not in RESIZES:
        raise ValueError(f"resize is {resize!r}; known are {', '.join(RESIZES)}")
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images are [b, h, w, 3]; got {images.shape}")
    rows, columns = (_interpolation(size, resize) for size in images.shape[1:3])
    x = jnp.asarray(images, jnp.float32)
    x = jnp.einsum("ih,bhwc->biwc", rows, x, precision="highest")
    return jnp.einsum("jw,biwc->bijc", columns, x, precision="highest")


def prepared(images: Shaped[Array, "b h w 3"], resize: str) -> Float[Array, "b 299 299 3"]:
    """Images in 0..255 as the network takes them: `resized`; 2 x / 255 - 1 ("pytorch") or (x - 128) / 128 ("tf1")."""
    x = resized(images, resize)
    return x * (2 / 255) - 1 if resize == "pytorch" else (x - 128) / 128


# Two programs, so that images of another size compile a resize and not the network again.
_prepare = jax.jit(prepared, static_argnames="resize")


@jax.jit
def _features(weights: Weights, x: Array) -> Features:
    out = taps(weights, x)
    return Features(out["2048"], out["logits"], out["spatial"])


class InceptionV3:
    """The FID network with its weights: images [b, h, w, 3] of any size, in 0..255, to `Features`.

    A batch is spread over the devices where they divide it, else each computes the whole. Compiled once a batch size.

    Args:
      tensors: those of the published file, by their names in it.
      resize: "pytorch", as pytorch-fid scales images, or "tf1", as TensorFlow's graph of 2015 and torch-fidelity do;
        the features differ by 1 to 10 %, so that both sets of a distance need the same.
      sha256: of the file that the tensors come from, for the record.
      devices: the local ones if not given.

    Raises:
      ValueError: an unknown resize, or other tensors.
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        resize: str = "pytorch",
        *,
        sha256: str = "",
        devices: Sequence[jax.Device] | None = None,
    ):
        if resize not in RESIZES:
            raise ValueError(f"resize is {resize!r}; known are {', '.join(RESIZES)}")
        self.resize, self.sha256 = resize, sha256
        self.devices = list(devices or jax.local_devices())
        mesh = Mesh(np.array(self.devices), ("batch",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._spread = NamedSharding(mesh, PartitionSpec("batch"))
        self.weights = jax.device_put(fold(tensors), self._everywhere)

    def __call__(self, images: Shaped[np.ndarray, "b h w 3"]) -> Features:
        """Features of one batch, float32, on the devices."""
        divides = len(images) % len(self.devices) == 0
        placed = jax.device_put(images, self._spread if divides else self._everywhere)
        return _features(self.weights, _prepare(placed, self.resize))
