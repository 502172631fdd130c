"""The frozen text encoders of a folder at the host: texts to the features of which a network is told.

Each distinct text of a call is read once, and by itself: each device takes one text at a time, so that its features are
the same bits whichever texts are read with it, as a continued training needs them. They are those that the published
pipelines tell their networks (`checkpoints.text_folder`), padding too: no token is masked.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from checkpoints import text_encoder, text_folder
from conditions.published_tokenizers import CLIPTokenizer
from conditions.readers import Fields
from conditions.tokenizers import Tokenizer, check_texts
from data.fingerprint import of_facts
from experiment.config_files import expand
from experiment.placing import on_devices, on_each
from experiment.weights import fingerprint
from models.functional import Network, Variables
from models.materialize import network_jit

BEGUN = 32
"""How many texts a device is given before what it makes of them is fetched."""
REMEMBERED = 128
"""The number of texts whose features stay in memory, which is up to 640 kB each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tower:
    """A text tower with its tokenizer, whose weights are read when they are first needed.

    Attributes:
      network: one of `models.TEXT_ENCODERS`.
      weights: reads its variables.
      tokenizer: makes its tokens.
    """

    network: Network
    weights: Callable[[], Variables]
    tokenizer: Tokenizer

    @functools.cached_property
    def variables(self) -> Variables:
        """Its weights, on each local device."""
        with jax.ensure_compile_time_eval():  # see `FrozenReader._computed`
            return jax.device_put(on_each(self.weights(), jax.local_device_count()))

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of its weights, with their names."""
        return fingerprint(self.variables)

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """What its network is made with."""
        return dict(self.network.options)


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenReader:
    """A `conditions.readers.Reader` of towers: the fields "text" [b, n, d], and of XL "pooled" [b, e].

    Attributes:
      towers: their features stand side by side.
      skip: how many layers more than the published pipeline it leaves out at the end, diffusers' `clip_skip`.
      pooled: whether it is XL's: the layer before the last one without the norm, and what the last tower projects.
      zeros: whether zeros tell of no text, in place of the features of the empty one.
    """

    towers: tuple[Tower, ...]
    skip: int = 0
    pooled: bool = False
    zeros: bool = False
    _one: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)
    _remembered: dict[str, Fields] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def fields(self) -> tuple[str, ...]:
        """What is made of a text."""
        return ("text", "pooled") if self.pooled else ("text",)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each field of one text."""
        width = sum(tower.options["text_width"] for tower in self.towers)
        of_text = {"text": (self.towers[0].tokenizer.length, width)}
        return of_text | ({"pooled": (self.towers[-1].options["projection_dim"],)} if self.pooled else {})

    @functools.cached_property
    def weights_digest(self) -> str:
        """The SHA-256 of the weights of all towers."""
        return of_facts([tower.digest for tower in self.towers])

    @functools.cached_property
    def digest(self) -> str:
        """It is that of weights, networks and tokenizers, which layer is taken, and what no text is."""
        towers = [(tower.options, tower.tokenizer.digest) for tower in self.towers]
        return of_facts([self.weights_digest, towers, self.skip, self.pooled, self.zeros])

    def check(self, texts: Sequence[str]) -> None:
        """Raise ValueError for a text of which a tokenizer makes no tokens; no tower reads them."""
        for tower in self.towers:
            tower.tokenizer.encode(texts)

    def read(self, texts: Sequence[str]) -> Fields:
        """The features of texts, float32; several threads take turns.

        Raises ValueError for anything but a list of texts of at least one.
        """
        texts = [str(text) for text in texts] if isinstance(texts, np.ndarray) else texts
        check_texts(texts)
        with self._one:
            found = {text: self._remembered[text] for text in texts if text in self._remembered}
            missing = [text for text in dict.fromkeys(texts) if text not in found]
            for first in range(0, len(missing), most := BEGUN * jax.local_device_count()):
                part = missing[first : first + most]
                arrays = self._computed(part)
                found |= {text: {name: array[i] for name, array in arrays.items()} for i, text in enumerate(part)}
            self._remember(found)
        return {name: np.stack([found[text][name] for text in texts]) for name in self.fields}

    @functools.cached_property
    def nothing(self) -> Fields:
        """The features that tell of no text: those of the empty one, or zeros."""
        if self.zeros:
            return {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}
        return {name: array[0] for name, array in self.read([""]).items()}

    def _remember(self, found: dict[str, Fields]) -> None:
        """Keep these features, and forget the oldest."""
        self._remembered.update(found)
        for text in list(self._remembered)[: max(0, len(self._remembered) - REMEMBERED)]:
            del self._remembered[text]

    def _computed(self, texts: Sequence[str]) -> Fields:
        """The features of texts, of which each device takes one at a time."""
        with jax.ensure_compile_time_eval():  # the features of no text may be asked for while a program is traced
            begun = [
                [function(tower.variables, on_devices(ids)) for ids in _groups(tower.tokenizer.encode(texts).ids)]
                for tower, function in zip(self.towers, self._functions, strict=True)
            ]
            parts = [
                [np.concatenate(arrays)[: len(texts)] for arrays in zip(*of_tower, strict=True)] for of_tower in begun
            ]
        found = {"text": np.concatenate([text for text, *_ in parts], axis=-1)}
        return found | ({"pooled": parts[-1][1]} if self.pooled else {})

    @functools.cached_property
    def _functions(self) -> list[Callable[..., tuple[Array, ...]]]:
        """What each tower makes of tokens, compiled."""
        return [network_jit(functools.partial(self._features, tower.network)) for tower in self.towers]

    def _features(self, network: Network, variables: Variables, ids: Int[Array, "b n"]) -> tuple[Array, ...]:
        """What a tower makes of tokens: their features, and XL's the projected ones where it projects."""
        said = network.module(variables)(ids, skip=self.skip + self.pooled, norm=not self.pooled)
        return (said.text, said.projected) if self.pooled and said.projected is not None else (said.text,)


def _groups(ids: np.ndarray) -> list[np.ndarray]:
    """The rows in groups of one a local device; copies of the last row fill up the last group."""
    devices = jax.local_device_count()
    filled = np.concatenate([ids, np.repeat(ids[-1:], -len(ids) % devices, axis=0)])
    return np.split(filled, len(filled) // devices)


def of_folder(field: str, path: str, skip: int = 0) -> FrozenReader:
    """The text encoders of a folder that this field of a config names; their weights are read when they are needed.

    Raises:
      ValueError: a folder without a text encoder, one that lacks a part, towers that do not go with their tokenizers or
        with each other, or fewer layers than are left out.
      OSError: a tokenizer without a table.
    """
    found = text_folder.find(expand(path))
    if found is None:
        raise ValueError(
            f"{field} is {path!r}, which holds no text encoder; give a folder with text_encoder/ and tokenizer/, as "
            "folders of diffusers have them, or with one of CLIP's towers and the files of its tokenizer"
        )
    towers = tuple(_tower(*part) for part in found.parts)
    lengths = {tower.tokenizer.length for tower in towers}
    if len(lengths) > 1:
        raise ValueError(
            f"{field} is {path!r}, whose tokenizers make {' and '.join(map(str, lengths))} tokens of a text"
        )
    layers, taken = min(tower.options["text_layers"] for tower in towers), skip + found.pooled
    if taken > layers:
        raise ValueError(
            f"data.clip_skip is {skip}, and the text encoder of {field} {path!r} has {layers} layers; lower it"
        )
    return FrozenReader(towers, skip, found.pooled, found.zeros)


def _tower(folder: Path, of_tokens: Path) -> Tower:
    name, options = text_encoder.describe(folder)
    network, tokenizer = Network.create(name, **options), CLIPTokenizer.in_folder(of_tokens)
    if tokenizer.size > options["vocabulary"]:
        raise ValueError(
            f"{of_tokens} knows {tokenizer.size} tokens, and the text encoder in {folder} {options['vocabulary']}; the "
            "two do not belong together"
        )
    if tokenizer.length > options["tokens"]:
        raise ValueError(
            f"{of_tokens} makes {tokenizer.length} tokens of a text, and the text encoder in {folder} takes "
            f"{options['tokens']}; the two do not belong together"
        )
    return Tower(network, lambda: text_encoder.read(folder, network).variables(ema=True), tokenizer)
