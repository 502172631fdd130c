"""The n-gram model against probabilities worked out by hand and entropies of sources; the share of real words."""

import math

import numpy as np
import pytest

from metrics import ngram
from metrics.words import share_of_real_words, words_of


def test_probabilities_worked_out_by_hand():
    """Of "abab": counts of 1 and of 2 occur once each, so each discount is 1 / (1 + 2).

    The contexts of a are b and the beginning, that of b is a: p(a) = (2 - 1/3) / 3 + 2/3 / 3 / 2 = 2/3, p(b) = 1/3.
    Of ab there are two, of ba one: p(b | a) = (2 - 1/3) / 2 + 1/3 / 2 p(b) = 8/9, p(a | b) = 2/3 + 1/3 p(a) = 8/9.
    """
    model = ngram.fit(np.array([0, 1, 0, 1]), order=2, size=2)
    found = 2.0 ** ngram.log2_probabilities(model, np.array([[0, 1, 0], [1, 1, 0]]))
    np.testing.assert_allclose(found, [[2 / 3, 8 / 9, 8 / 9], [1 / 3, 1 / 9, 8 / 9]], rtol=1e-12)
    assert ngram.bits(model, np.array([0, 1, 0])) == pytest.approx(-math.log2(2 / 3 * 8 / 9 * 8 / 9) / 3)


def test_probabilities_add_up_to_1_behind_every_context():
    symbols = np.random.default_rng(0).integers(0, 4, 300) ** 2 % 5
    model = ngram.fit(symbols, order=4, size=6)
    rows = np.stack(np.meshgrid(*[np.arange(6)] * 4, indexing="ij"), -1)  # most contexts never occur
    p = 2.0 ** ngram.log2_probabilities(model, rows)
    np.testing.assert_allclose(p[..., 3].sum(-1), 1.0, rtol=1e-9)
    assert p.min() > 0


def test_the_bits_are_the_entropy_of_the_source():
    """A two-state chain that stays with probability 0.9 has 0.469 bits a symbol; 40,000 symbols, 3 standard errors."""
    rng = np.random.default_rng(1)
    chain = np.cumsum(rng.random(80_000) > 0.9) % 2
    entropy = -0.9 * math.log2(0.9) - 0.1 * math.log2(0.1)
    error = math.sqrt(0.9 * 0.1) * math.log2(9) / math.sqrt(40_000)
    model = ngram.fit(chain[:40_000], order=4, size=2)
    assert abs(ngram.bits(model, chain[40_000:]) - entropy) < 3 * error
    shuffled = ngram.bits(model, rng.integers(0, 2, 40_000))
    assert shuffled > entropy + 1  # it stays where the chain says, and is wrong half of the time
    uniform = ngram.fit(rng.integers(0, 8, 40_000), order=2, size=8)
    assert abs(ngram.bits(uniform, rng.integers(0, 8, 1000)) - 3) < 0.02


def test_rows_know_nothing_of_each_other():
    symbols = np.random.default_rng(2).integers(0, 3, 200)
    model = ngram.fit(symbols, order=3, size=3)
    rows = symbols.reshape(10, 20)
    together = ngram.log2_probabilities(model, rows)
    for row, alone in zip(rows, together, strict=True):
        np.testing.assert_array_equal(ngram.log2_probabilities(model, row), alone)


@pytest.mark.parametrize(
    ("symbols", "order", "size", "message"),
    [
        ([0, 1], 3, 2, "a text of 2 symbols has no 3-grams"),
        ([0, 1], 0, 2, "has no 0-grams"),
        ([0, 2], 1, 2, "symbols are 0 to 1; received some from 0 to 2"),
        ([0, 1, 1, 1, 1], 5, 50_000, "more 5-grams than 2\\^63"),
    ],
)
def test_what_has_no_model_is_said(symbols, order, size, message):
    with pytest.raises(ValueError, match=message):
        ngram.fit(np.array(symbols), order=order, size=size)


def test_words_that_are_cut_or_short_do_not_count():
    assert words_of("rhaps The Cat's of 3xyz_rés end") == ["the", "cat", "xyz", "rés"]
    assert share_of_real_words(["rhaps The Cat's of 3xyz_rés end", " qqq qq ", ""], {"the", "cat", "of"}) == 2 / 5
    assert math.isnan(share_of_real_words(["", "cut"], {"cut"}))
