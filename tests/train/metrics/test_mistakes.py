"""The worst mistakes, whatever the batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl.train.metrics import WorstMistakes
from minidl.train.metrics.metric import softmax


def _samples(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(count)
    return np.round(rng.normal(size=(count, 4)) * 2).astype(np.float32), rng.integers(0, 4, count)


@pytest.mark.parametrize("most", [1, 5, 1000])
@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_they_are_the_greatest_losses_among_the_wrong(most: int, batch: int) -> None:
    logits, truth = _samples(200)
    places = np.arange(200) * 2
    worst = WorstMistakes(most)
    for begin in range(0, 200, batch):
        part = slice(begin, begin + batch)
        worst.update(logits[part], truth[part], places[part])
    probabilities, guess = softmax(logits), logits.argmax(1)
    loss = -np.log(probabilities[np.arange(200), truth])
    wrong = np.flatnonzero(guess != truth)
    expected = sorted(wrong, key=lambda i: (-round(loss[i], 9), i))[:most]
    found = worst.compute()
    assert [mistake.index for mistake in found] == [2 * i for i in expected]
    for i, mistake in zip(expected, found, strict=True):
        assert (mistake.truth, mistake.guess) == (truth[i], guess[i])
        assert mistake.loss == pytest.approx(loss[i])
        assert mistake.probability == pytest.approx(probabilities[i].max())


def test_a_model_that_is_right_makes_none() -> None:
    worst = WorstMistakes(3)
    worst.update(np.eye(4), np.arange(4), np.arange(4))
    assert worst.compute() == []
