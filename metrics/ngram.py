"""The n-gram model of sequences with back-off: interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999).

With the counts c of all n-grams of a text, a context h of n - 1 symbols and h' without its first one,

    p(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + gamma(h) p(w | h'),

where gamma(h) is what the discounts D have left over, so that probabilities add up to 1; p(w | h') is the same of one
symbol less, down to 1 / K. Below the highest order c counts in how many contexts an n-gram stands, not how often. The
discounts of counts 1, 2 and more follow from the counts of counts (eq. 26; "An empirical study of smoothing techniques
for language modeling", Computer Speech and Language 13). It is what a text model has to beat.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Symbols = Int[np.ndarray, "*b n"]

SMALLEST = 0.1
"""No discount is smaller: what was never seen keeps a probability."""


@dataclass(frozen=True, eq=False)
class Table:
    """The n-grams of one order, numbered in base K, and their contexts; both are sorted.

    Attributes:
      grams, counts: each n-gram, and its count.
      contexts, totals: each context, and the sum of the counts of the n-grams that begin with it.
      left: the sum of their discounts.
      discounts: of counts 0, 1, 2, and 3 or more.
    """

    grams: Int[np.ndarray, " g"]
    counts: Int[np.ndarray, " g"]
    contexts: Int[np.ndarray, " h"]
    totals: Int[np.ndarray, " h"]
    left: Float[np.ndarray, " h"]
    discounts: Float[np.ndarray, "4"]


@dataclass(frozen=True, eq=False)
class NGram:
    """A model of symbols 0 to `size` - 1, made by `fit`; `tables` are those of 1 symbol, of 2, ..."""

    size: int
    tables: tuple[Table, ...]


def fit(symbols: Int[np.ndarray, " n"], *, order: int = 5, size: int) -> NGram:
    """The model of the n-grams of one text, of `order` symbols at most.

    Args:
      symbols: of the text, 0 to size - 1.
      order: n of the longest n-grams.
      size: K, the number of symbols that there may be.

    Raises:
      ValueError: the text is shorter than an n-gram, has other symbols, or there are more than 2^63 possible n-grams.
    """
    if order < 1 or len(symbols) < order:
        raise ValueError(f"a text of {len(symbols)} symbols has no {order}-grams: choose an order from 1 to its length")
    if size**order >= 2**63:
        raise ValueError(f"{size} symbols have more {order}-grams than 2^63: choose a smaller order")
    if not 0 <= symbols.min() <= symbols.max() < size:
        raise ValueError(f"symbols are 0 to {size - 1}; received some from {symbols.min()} to {symbols.max()}")
    tables = []
    for n in range(1, order + 1):
        numbers = _grams(symbols, n, size)
        if n < order:  # in how many contexts each stands; the beginning of the text is one of them
            numbers = np.append(np.unique(_grams(symbols, n + 1, size)) % size**n, numbers[0])
        grams, counts = np.unique(numbers, return_counts=True)
        contexts, of_gram = np.unique(grams // size, return_inverse=True)
        discounts = _discounts(counts)
        totals = np.bincount(of_gram, counts).astype(np.int64)
        left = np.bincount(of_gram, discounts[np.minimum(counts, 3)])
        tables.append(Table(grams, counts, contexts, totals, left, discounts))
    return NGram(size, tuple(tables))


def log2_probabilities(model: NGram, symbols: Symbols) -> Float[np.ndarray, "*b n"]:
    """log2 of the probability of each symbol, given those before it in its own row, of which the first has none."""
    found = np.full(symbols.shape, 1.0 / model.size)
    for n, table in enumerate(model.tables[: symbols.shape[-1]], start=1):
        numbers, shorter = _grams(symbols, n, model.size), found[..., n - 1 :]
        contexts = numbers // model.size
        count, total = (
            _looked_up(table.grams, table.counts, numbers),
            _looked_up(table.contexts, table.totals, contexts),
        )
        kept = count - table.discounts[np.minimum(count, 3)]
        left = _looked_up(table.contexts, table.left, contexts) * shorter
        longer = np.where(total > 0, (kept + left) / np.maximum(total, 1), shorter)
        found = np.concatenate([found[..., : n - 1], longer], axis=-1)
    return np.log2(found)


def bits(model: NGram, symbols: Symbols) -> float:
    """The mean of -log2 p over all symbols: bits per character where symbols are characters."""
    return float(-log2_probabilities(model, symbols).mean())


def _grams(symbols: Symbols, n: int, size: int) -> Int[np.ndarray, "*b m"]:
    """The number in base `size` of the n symbols that end at each place from n - 1 on."""
    numbers = symbols[..., n - 1 :].astype(np.int64)
    for back in range(1, n):
        numbers = numbers + symbols[..., n - 1 - back : symbols.shape[-1] - back].astype(np.int64) * size**back
    return numbers


def _discounts(counts: Int[np.ndarray, " g"]) -> Float[np.ndarray, "4"]:
    """The discounts are those of eq. 26, or one for all where a count of 1, 2 or 3 never occurs (Ney et al. 1994)."""
    n1, n2, n3, n4 = ((counts == j).sum() for j in range(1, 5))
    one = n1 / (n1 + 2 * n2) if n1 and n2 else 0.5
    each = [one] * 3
    if n1 and n2 and n3:
        each = [1 - 2 * one * n2 / n1, 2 - 3 * one * n3 / n2, 3 - 4 * one * n4 / n3]
    return np.array([0.0, *np.clip(each, SMALLEST, (1, 2, 3))])


def _looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The value of each key that is asked for, 0 where there is none; keys are sorted."""
    places = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)
