"""The Inception Score (Salimans et al. 2016) of logits."""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Float

BLOCK = 8192


def inception_score(logits: Float[np.ndarray, "n classes"], *, splits: int = 10) -> dict[str, Any]:
    """The exponential of the mean over x of KL(p(y|x) || p(y)), as mean and population deviation (std) over splits.

    The published score takes 50,000 samples in 10 splits, and the softmax of the logits without the bias of the last
    layer ("unbiased"). Split i has the rows i n // splits to (i + 1) n // splits, so samples that are in an order (of
    classes) should be shuffled first. The score rises with the size of a split.

    Raises:
      ValueError: there are more splits than samples, or none.
    """
    n = len(logits)
    if not 1 <= splits <= n:
        raise ValueError(f"splits is {splits}; it must be between 1 and the number of samples, {n}")
    bounds = [i * n // splits for i in range(splits + 1)]
    scores = [np.exp(_mutual_information(logits[a:b])) for a, b in itertools.pairwise(bounds)]
    return {"mean": float(np.mean(scores)), "std": float(np.std(scores)), "splits": splits}


def _mutual_information(logits: np.ndarray) -> float:
    """The entropy of the mean distribution less the mean of the entropies, in nats."""
    total, negative_entropy = np.zeros(logits.shape[1]), 0.0
    for i in range(0, len(logits), BLOCK):
        block = np.asarray(logits[i : i + BLOCK], np.float64)
        block = block - block.max(axis=1, keepdims=True)
        log_p = block - np.log(np.exp(block).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        total += p.sum(axis=0)
        negative_entropy += (p * log_p).sum()
    mean = total / len(logits)
    present = mean > 0
    return negative_entropy / len(logits) - float((mean[present] * np.log(mean[present])).sum())
