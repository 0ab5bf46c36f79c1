"""Recurrent classifiers of sequences; an image is the sequence of its rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import nn
from minidl.arguments import Fraction, Size, checked
from minidl.ops.shape import reshape, shape_of, transpose


class _RowClassifier(nn.Module):
    infer: ClassVar = {"input_size": -1}
    kind: ClassVar[Any]

    @checked
    def __init__(
        self,
        input_size: Size,
        num_classes: Size = 10,
        hidden_size: Size = 128,
        num_layers: Size = 1,
        dropout: Fraction = 0.0,
        bidirectional: bool = False,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.recurrent = self.kind(
            input_size, hidden_size, num_layers, batch_first=True, dropout=dropout,
            bidirectional=bidirectional, rng=rng,
        )  # fmt: skip
        self.last = nn.LastStep(bidirectional)
        self.head = nn.Linear(hidden_size * (1 + bidirectional), num_classes, rng=rng)

    def forward(self, x: Any) -> Any:
        """Return logits, of what the recurrence has seen at its end.

        Raises
        ------
        ValueError
            The input is neither ``(N, T, features)`` nor ``(N, C, H, W)``.
        """
        shape = shape_of(x)
        if len(shape) == 4:  # rows in sequence, their pixels of all channels side by side
            x = reshape(transpose(x, 1, 2), (shape[0], shape[2], shape[1] * shape[3]))
        elif len(shape) != 3:
            raise ValueError(
                f"{type(self).__name__}: (N, T, features) or (N, C, H, W) is wanted, got {shape}"
            )
        return self.head(self.last(self.recurrent(x)))


class LSTMClassifier(_RowClassifier):
    """An LSTM over the rows of an image (or the steps of a sequence), and a linear layer.

    Shapes: ``(N, C, H, W)`` with ``input_size = C · W``, or ``(N, T, input_size)``, to
    ``(N, num_classes)``.
    """

    kind: ClassVar = nn.LSTM


class GRUClassifier(_RowClassifier):
    """A GRU over the rows of an image (or the steps of a sequence), and a linear layer.

    Shapes: as in `LSTMClassifier`.
    """

    kind: ClassVar = nn.GRU
