"""What reads texts for the network of a config."""

from ml_collections import ConfigDict

from conditions.readers import Reader, TokenReader
from data import Source
from experiment import text_encoder
from experiment.experiment import options_of
from experiment.texts import tokenizer_of


def reader_of(config: ConfigDict, source: Source) -> Reader | None:
    """What reads texts for the network of a config: a frozen text encoder, or a tokenizer alone; None: nothing does.

    Raises:
      ValueError: what is named cannot be used.
      OSError: a table of byte pairs, or a file of weights, is not there.
    """
    folder, tokenizer = config.data.text_encoder, config.data.tokenizer
    if folder:
        return text_encoder.of_folder("data.text_encoder", folder, config.data.clip_skip)
    made = tokenizer_of(tokenizer, options_of(config).get("tokens", 0), source)
    return TokenReader(made) if made else None
