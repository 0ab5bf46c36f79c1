"""The worst mistakes of a model: the samples to look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.autograd.primitive import Array
from minidl.train.metrics.metric import softmax
from minidl.train.metrics.scores import surprise


@dataclass(frozen=True)
class Mistake:
    """A sample that was taken for another class.

    Attributes
    ----------
    index : int
        Its place in the dataset.
    truth, guess : int
        The classes that it is of, and that it was taken for.
    probability : float
        Of the guess: how sure the model was.
    loss : float
        Minus the logarithm of the true class's probability, in nats.
    """

    index: int
    truth: int
    guess: int
    probability: float
    loss: float


class WorstMistakes:
    """Keeps the ``most`` wrongly classified samples whose loss is the largest.

    Of equal losses the smaller index goes first, so the answer does not depend on the batches.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._worst: list[Mistake] = []

    def update(self, outputs: Array, targets: Array, indices: Array) -> None:
        """Take in logits ``(N, classes)``, classes ``(N,)`` and places in the dataset ``(N,)``."""
        guess = outputs.argmax(axis=1)
        (wrong,) = np.nonzero(guess != targets)
        loss = surprise(outputs[wrong], targets[wrong])
        wrong = wrong[np.argsort(-loss, kind="stable")[: self.most]]
        loss = surprise(outputs[wrong], targets[wrong])
        sure = softmax(outputs[wrong]).max(axis=1)
        columns = (indices[wrong], targets[wrong], guess[wrong], sure, loss)
        found = [
            Mistake(*row) for row in zip(*(column.tolist() for column in columns), strict=True)
        ]
        ordered = sorted([*self._worst, *found], key=lambda mistake: (-mistake.loss, mistake.index))
        self._worst = ordered[: self.most]

    def compute(self) -> list[Mistake]:
        """Return them, the worst first."""
        return list(self._worst)
