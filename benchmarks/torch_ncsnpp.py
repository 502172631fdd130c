"""NCSN++ and DDPM++ of Song et al. 2021 as an idiomatic PyTorch network, to measure our own against.

The function and the parameters are those of `models.ncsnpp`, whose variables it loads by name; the form is what serves
PyTorch: NCHW (or channels_last memory), its own convolutions, norms and fused attention, filters as depthwise
convolutions of stride 2 and their transposes, so that no zero is ever stored, query, key and value in one map.
"""

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from limits import Sides
from models.functional import Network, Variables
from models.resolutions import shorter_sides


def residual(x: Tensor, h: Tensor) -> Tensor:
    """(x + h) / sqrt(2)."""
    return (x + h) * math.sqrt(0.5)


def norm(channels: int) -> nn.GroupNorm:
    """Group norm over a quarter of the channels, 32 groups at most."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class Resample(nn.Module):
    """Doubling ("up") or halving ("down"): filtered with `taps`; without them nearest neighbour and average."""

    def __init__(self, way: str, taps: Sequence[float] | None):
        super().__init__()
        self.way, self.padding = way, 1
        filtered = None
        if taps is not None:
            line = torch.tensor(taps, dtype=torch.float32) / sum(taps) * (2 if way == "up" else 1)
            filtered, self.padding = torch.outer(line, line)[None, None], (len(taps) - 2) // 2
        self.register_buffer("kernel", filtered, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Resample."""
        if self.kernel is None:
            return F.interpolate(x, scale_factor=2.0) if self.way == "up" else F.avg_pool2d(x, 2)
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        convolve = F.conv_transpose2d if self.way == "up" else F.conv2d
        return convolve(x, kernel, stride=2, padding=self.padding, groups=x.shape[1])


class ResBlock(nn.Module):
    """Residual block of BigGAN: both branches change size before the first convolution."""

    def __init__(
        self, c_in: int, c_out: int, c_time: int, dropout: float, way: str | None, taps: Sequence[float] | None
    ):
        super().__init__()
        self.norm0, self.norm1 = norm(c_in), norm(c_out)
        self.conv0 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv1 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.time = nn.Linear(c_time, c_out)
        self.shortcut = nn.Conv2d(c_in, c_out, 1) if way or c_in != c_out else None
        self.resample = Resample(way, taps) if way else None
        self.dropout = dropout

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`time` is the activated embedding."""
        h = F.silu(self.norm0(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv0(h) + self.time(time)[:, :, None, None]
        h = F.dropout(F.silu(self.norm1(h)), self.dropout, self.training)
        return residual(x if self.shortcut is None else self.shortcut(x), self.conv1(h))


class Attention(nn.Module):
    """Residual self-attention over the pixels, one head."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(tokens)[:, None].chunk(3, dim=-1)
        attended = self.out(F.scaled_dot_product_attention(query, key, value)[:, 0])
        return residual(x, attended.transpose(1, 2).reshape(x.shape))


class Level(nn.Module):
    """The parts of one resolution on the way down or up."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleList()
        self.resize: nn.Module | None = None
        self.pyramid: nn.Module | None = None


class Pyramid(nn.Module):
    """The image's own way down: filtered at full size, then a convolution of stride 2."""

    def __init__(self, c_in: int, c_out: int, taps: Sequence[float]):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride=2)
        line = torch.tensor(taps, dtype=torch.float32) / sum(taps)
        self.register_buffer("kernel", torch.outer(line, line).expand(c_in, 1, -1, -1).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve, to c_out channels."""
        padding = self.kernel.shape[-1] // 2
        return self.conv(F.conv2d(x, self.kernel.to(x.dtype), padding=padding, groups=x.shape[1]))


class NCSNpp(nn.Module):
    """``(x [b, c, h, w], c_noise [b]) -> [b, c, h, w]``; options as `models.ncsnpp.NCSNpp` has them.

    Raises ValueError for options that the published continuous CIFAR-10 networks do not use.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        centered: bool = True,
        fir: bool = False,
        fir_kernel: Sequence[float] = (1, 3, 3, 1),
        progressive_input: str = "none",
        embedding_type: str = "positional",
        scale_by_sigma: bool = False,
        **others: Any,
    ):
        super().__init__()
        unknown = sorted(others.keys() - {"fourier_scale", "dtype"})
        if unknown:
            known = list(inspect.signature(NCSNpp.__init__).parameters)[1:-1]
            raise ValueError(f"the PyTorch network has no option {', '.join(unknown)}; known are {', '.join(known)}")
        fourier, pyramids = embedding_type == "fourier", progressive_input == "residual"
        if (
            (scale_by_sigma and not fourier)
            or (pyramids and not fir)
            or progressive_input not in ("none", "residual")
            or (fir and len(fir_kernel) != 4)
        ):
            raise ValueError(
                f"the PyTorch network has no scale_by_sigma={scale_by_sigma} with embedding_type={embedding_type!r}, "
                f"progressive_input={progressive_input!r} with fir={fir}, or fir_kernel={tuple(fir_kernel)}; "
                "scale_by_sigma needs 'fourier', progressive_input is 'none' or, with fir, 'residual', four taps"
            )
        self.nf, self.centered, self.scale_by_sigma = nf, centered, scale_by_sigma
        taps = tuple(fir_kernel) if fir else None
        sizes = shorter_sides(image_size, len(ch_mult))

        def block(c_in: int, c_out: int, way: str | None = None) -> ResBlock:
            return ResBlock(c_in, c_out, 4 * nf, dropout, way, taps)

        self.register_buffer("frequencies", torch.zeros(nf) if fourier else None)
        self.time0 = nn.Linear(2 * nf if fourier else nf, 4 * nf)
        self.time1 = nn.Linear(4 * nf, 4 * nf)
        self.conv_in = nn.Conv2d(num_channels, nf, 3, padding=1)
        c, c_pyramid, skips = nf, num_channels, [nf]
        self.down = nn.ModuleList()
        for multiple, size in zip(ch_mult, sizes, strict=True):
            level = Level()
            for _ in range(num_res_blocks):
                level.blocks.append(block(c, nf * multiple))
                c = nf * multiple
                if size in attn_resolutions:
                    level.attention.append(Attention(c))
                skips.append(c)
            if size != sizes[-1]:
                level.resize = block(c, c, "down")
                if pyramids:
                    level.pyramid = Pyramid(c_pyramid, c, taps)
                    c_pyramid = c
                skips.append(c)
            self.down.append(level)
        self.middle = nn.ModuleList([block(c, c), Attention(c), block(c, c)])
        self.up = nn.ModuleList()
        for multiple, size in zip(reversed(ch_mult), reversed(sizes), strict=True):
            level = Level()
            for _ in range(num_res_blocks + 1):
                level.blocks.append(block(c + skips.pop(), nf * multiple))
                c = nf * multiple
            if size in attn_resolutions:
                level.attention.append(Attention(c))
            if size != sizes[0]:
                level.resize = block(c, c, "up")
            self.up.append(level)
        self.norm_out = norm(c)
        self.conv_out = nn.Conv2d(c, num_channels, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """The network's output for images x at noise c_noise."""
        time = F.silu(self.time1(F.silu(self.time0(self._features(c_noise)))))
        pyramid = x if self.centered else 2 * x - 1
        h = self.conv_in(pyramid)
        skips = [h]
        for level in self.down:
            for i, block in enumerate(level.blocks):
                h = block(h, time)
                if level.attention:
                    h = level.attention[i](h)
                skips.append(h)
            if level.resize is not None:
                h = level.resize(h, time)
                if level.pyramid is not None:
                    h = pyramid = residual(level.pyramid(pyramid), h)
                skips.append(h)
        first, attend, second = self.middle
        h = second(attend(first(h, time)), time)
        for level in self.up:
            for block in level.blocks:
                h = block(torch.cat([h, skips.pop()], dim=1), time)
            if level.attention:
                h = level.attention[0](h)
            if level.resize is not None:
                h = level.resize(h, time)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return h / c_noise[:, None, None, None] if self.scale_by_sigma else h

    def _features(self, c_noise: Tensor) -> Tensor:
        if self.frequencies is None:
            half = self.nf // 2
            exponents = torch.arange(half, device=c_noise.device) / (half - 1)
            angles = c_noise[:, None] * torch.exp(-math.log(10000.0) * exponents)
        else:
            angles = 2 * math.pi * torch.log(c_noise)[:, None] * self.frequencies
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


def of_network(network: Network, variables: Variables) -> NCSNpp:
    """The PyTorch network of ours, with its weights.

    Raises ValueError for another architecture, an option that this form has not, or weights that do not fit.
    """
    if network.name != "ncsnpp":
        raise ValueError(f"model.name is {network.name!r}; the PyTorch network is ncsnpp")
    module = NCSNpp(**dict(network.options))
    theirs = dict(_converted(variables["params"].items()))
    if "fourier.frequencies" in variables["fixed"]:
        theirs["frequencies"] = torch.from_numpy(np.array(variables["fixed"]["fourier.frequencies"]))
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    theirs = {name: tensor.reshape(expected.get(name, tensor.shape)) for name, tensor in theirs.items()}
    module.load_state_dict(theirs)  # strict: RuntimeError names what is missing, unknown or of another shape
    return module


def _converted(params: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Tensor]]:
    """Their names and layouts: kernels with the outputs first, query, key and value one below the other."""
    named = {name: np.array(value, np.float32) for name, value in params}
    for name, value in named.items():
        stem, _, leaf = name.rpartition(".")
        if stem.endswith((".key", ".value")):
            continue
        if stem.endswith(".query"):
            value = np.concatenate([named[f"{stem[:-5]}{part}.{leaf}"] for part in ("query", "key", "value")], axis=-1)
            stem = f"{stem[:-5]}qkv"
        if leaf == "kernel":
            value = value.T if value.ndim == 2 else value.transpose(3, 2, 0, 1)
        yield f"{stem}.{'bias' if leaf == 'bias' else 'weight'}", torch.from_numpy(np.ascontiguousarray(value))
