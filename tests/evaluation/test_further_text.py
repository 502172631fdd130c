"""What is measured of drawn texts: words that are known, and bits by the training text's n-grams."""

import math

import numpy as np

import data
from evaluation.further import FURTHER


def test_training_texts_have_known_words_and_noise_has_more_bits_than_a_uniform_source():
    """A model gives symbols that are drawn evenly at least their entropy, log2 K bits each; 30,000 of them."""
    source, measure = data.create("pydoc_topics", length=100), FURTHER["text"].function
    real = source.test[np.arange(300)]["image"]
    learned = source.train[np.arange(300)]["image"]
    size = len(source.alphabet)
    noise = np.random.default_rng(0).integers(0, size, (300, 100))
    of_learned, of_real, of_noise = (measure(drawn, real, source) for drawn in (learned, real, noise))
    assert of_learned["real_words"] == 1.0 > of_real["real_words"] > 0.9
    assert of_noise["real_words"] < 0.1
    assert of_learned["bits_by_n_grams"] < of_real["bits_by_n_grams"] < math.log2(size) < of_noise["bits_by_n_grams"]
