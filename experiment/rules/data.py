"""The rules of a config and its data: their pictures, their texts and the latents that are modelled."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from autoencoders import CODECS, Latents
from conditions.readers import Reader, TokenReader
from conditions.tokenizers import Tokenizer
from data import Source
from experiment.experiment import Experiment, image_shape, options_of
from experiment.rules.base import Broken
from experiment.showing import MODALITIES
from experiment.text_encoder import FrozenReader
from models import AUTOENCODERS, CATEGORICAL, MODELS, modalities_of, takes_absent


def of_data(config: ConfigDict, source: Source) -> Broken:
    """The rules of a config and its data set."""
    shape, told, modality = image_shape(config), config.model.get("label_dim", 0), MODALITIES[source.modality]
    if config.model.name in MODELS and source.modality not in (of := modalities_of(config.model.name) or MODALITIES):
        suited = [name for name in MODELS if source.modality in (modalities_of(name) or MODALITIES)]
        yield (
            f"model.name is {config.model.name!r}, a network of {' and '.join(MODALITIES[each].words for each in of)}, "
            f"and the examples of {source.name!r} are {modality} of shape {source.shape}; take one of "
            f"{', '.join(suited)}"
        )
    if source.padded and config.model.name in MODELS and not takes_absent(config.model.name):
        yield (
            f"data.varying is True, and model.name {config.model.name!r} takes sets of as many points each; take "
            f"{', '.join(name for name in MODELS if takes_absent(name))}, or set data.varying to False"
        )
    if shape is None and modality.is_picture:
        yield f"data.image_size and data.num_channels are missing; {source.name!r} has {source.shape}"
    if shape not in (None, source.shape):
        yield (
            f"data.image_size {config.data.image_size}, data.num_channels {config.data.num_channels}: the "
            f"{modality.words} of {config.data.dataset!r} are {source.shape} ({', '.join(modality.axes)})"
        )
    for name, without in (("random_flip", False), ("augment", 0)):
        if config.data[name] and not modality.is_picture:
            yield f"data.{name} is for images; the examples of {source.name!r} are {source.shape}; set it to {without}"
    yield from _of_categories(config, source)
    if config.sampling.threshold != "none" and source.levels is None:
        yield f"sampling.threshold {config.sampling.threshold!r}: {source.name!r} has no range; set it to 'none'"
    if told not in (0, source.num_classes):
        yield (
            f"model.label_dim is {told}, and the examples of {source.name!r} have {source.num_classes or 'no'} "
            f"classes; set it to {source.num_classes}"
        )


def _of_categories(config: ConfigDict, source: Source) -> Broken:
    """The rules of data, a codec and a network of which one or the other is of categories."""
    codec, name = config.data.codec, config.model.name
    if source.modality == "text" and codec != "categories":
        yield f"data.codec is {codec!r}, and the examples of {source.name!r} are texts; set it to 'categories'"
    if (codec == "categories") != (name in CATEGORICAL):
        yield (
            f"data.codec is {codec!r}, and model.name {name!r}: networks of categories, which are "
            f"{', '.join(CATEGORICAL)}, go with data.codec='categories', and only they do"
        )
    if codec == "categories" and config.data.uniform_dequantization:
        yield "data.uniform_dequantization is True, and categories are modelled as they are; set it to False"


def of_texts(config: ConfigDict, reader: Reader | None, guide: Experiment | None = None) -> Broken:
    """The rules of a config and what reads its texts: for the network, and for a guide, by itself."""
    options, network = options_of(config), repr(config.model.name)
    tokens, features = options.get("tokens", 0), options.get("text_dim", 0)
    if isinstance(reader, FrozenReader):
        yield from _of_features(config, options, reader)
    elif isinstance(reader, TokenReader):
        yield from _of_tokens(config, options, reader.tokenizer)
    of_network = ("negative_prompt",) if guide and guide.matches else ("prompt", "negative_prompt")
    for name in of_network:
        if config.sampling[name] and not (tokens or features):
            yield f"sampling.{name} is {config.sampling[name]!r}, and model.name {network} reads no texts; leave it ''"
        elif config.sampling[name] and not reader:
            field, made = ("text_encoder", "features") if features else ("tokenizer", "tokens")
            yield (
                f"sampling.{name} is {config.sampling[name]!r}, and data.{field} ''; name what makes {made} of it when "
                "the run is trained or imported"
            )
    if config.sampling.told_size and not options.get("pooled_dim", 0):
        yield (
            f"sampling.told_size is {config.sampling.told_size}, and model.name {network} is told no size "
            "(model.pooled_dim is 0); leave it ()"
        )


def _of_tokens(config: ConfigDict, options: Mapping[str, Any], tokenizer: Tokenizer) -> Broken:
    """The rules of a network that reads tokens, and the tokenizer that makes them."""
    named, tokens, vocabulary = config.data.tokenizer, options.get("tokens", 0), options.get("vocabulary", 0)
    if tokens and tokenizer.length != tokens:
        yield f"model.tokens is {tokens}, and data.tokenizer {named!r} makes {tokenizer.length} of a text; set it so"
    if vocabulary and tokenizer.size > vocabulary:
        yield f"model.vocabulary is {vocabulary}, and data.tokenizer {named!r} knows {tokenizer.size} tokens; raise it"


def _of_features(config: ConfigDict, options: Mapping[str, Any], reader: FrozenReader) -> Broken:
    """The rules of a network that is told features, and the text encoder that makes them."""
    for option, field, where in (("text_dim", "text", -1), ("pooled_dim", "pooled", 0)):
        wanted, made = options.get(option, 0), reader.shapes.get(field, (0,))[where]
        if wanted and wanted != made:
            yield (
                f"model.{option} is {wanted}, and the text encoder of data.text_encoder {config.data.text_encoder!r} "
                f"makes {made or 'no'} such features; give the one that the network was trained with"
            )


def of_codec(config: ConfigDict, source: Source, run: Experiment) -> Broken:
    """The rules of a config whose codec is a run."""
    name = f"data.codec is {config.data.codec!r}"
    if not run.compresses:
        yield (
            f"{name}, whose network is {run.config.model.name!r}; it must be {' or '.join(CODECS)}, or the folder of "
            f"an autoencoder's run ({', '.join(AUTOENCODERS)})"
        )
    if not MODALITIES[source.modality].is_picture or source.levels is None:
        yield f"{name}, an autoencoder of pictures; the examples of {source.name!r} are {source.shape}"
    if source.shape[-1] != run.codec.shape[-1]:
        yield f"{name}, of pictures of {run.codec.shape[-1]} channels; those of {source.name!r} have {source.shape[-1]}"
    if not config.data.centered or config.data.uniform_dequantization:
        yield (
            f"{name}, whose pictures lie in [-1, 1] without noise: set data.centered to True and "
            "data.uniform_dequantization to False"
        )
    if config.data.augment:
        yield f"{name} and data.augment {config.data.augment}, which turns and stretches pictures; set it to 0"
    if config.sampling.threshold != "none":
        yield f"sampling.threshold is {config.sampling.threshold!r}, and latents have no range; set it to 'none'"
    if config.model.name in AUTOENCODERS:
        yield f"{name} and model.name {config.model.name!r}; an autoencoder is trained on pictures: set it to levels"


def of_known_latents(experiment: Experiment) -> Broken:
    """The rules of a run that is used: a training has measured what its config leaves open."""
    codec, data = experiment.codec, experiment.config.data
    if isinstance(codec, Latents) and None in (codec.scale, codec.shift):
        yield (
            f"data.latent_scale is {data.latent_scale} and data.latent_shift {data.latent_shift}, and the autoencoder "
            f"of data.codec {data.codec!r} says neither; give both, as the model was trained with"
        )
