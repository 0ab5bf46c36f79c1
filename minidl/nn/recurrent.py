"""Recurrent layers: a state that is carried along a sequence.

Parameters lie and are named as PyTorch's, gates in its order.

References
----------
S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997), with the
forget gate of F. Gers et al. (2000); K. Cho et al., "Learning Phrase Representations using RNN
Encoder-Decoder", EMNLP 2014, in the variant that PyTorch and cuDNN compute (the reset gate acts
behind the product).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Count, Fraction, Size, checked
from minidl.nn import expect, functional, init
from minidl.nn.module import Module, Parameter
from minidl.nn.recurrent_cells import (
    Nonlinearity,
    checked_nonlinearity,
    gru_step,
    lstm_step,
    rnn_step,
)
from minidl.ops.elementwise import relu, tanh
from minidl.ops.joining import cat, stack
from minidl.ops.lstm import lstm
from minidl.ops.products import linear
from minidl.ops.rearrange import flip
from minidl.ops.shape import shape_of, transpose


def _run(
    steps: Sequence[Any],
    state: tuple[Any, ...],
    weights: tuple[Any, ...],
    step: Callable[..., Any],
    back: bool,
) -> tuple[list[Any], tuple[Any, ...]]:
    """Run one layer in one direction over ``(N, *)`` a step; return hidden states and the last.

    The inputs' share is made step by step too: one product for all would be cut into steps, and the
    gradient of a piece is an array as large as the whole, one a step.
    """
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
    outputs: list[Any] = [None] * len(steps)
    for t in reversed(range(len(steps))) if back else range(len(steps)):
        state = step(linear(steps[t], weight_ih, bias_ih), state, weight_hh, bias_hh)
        if weight_hr is not None:
            state = (linear(state[0], weight_hr), *state[1:])
        outputs[t] = state[0]
    return outputs, state


class _Recurrent(Module):
    """Layers of a recurrence, in one or two directions."""

    infer: ClassVar = {"input_size": -1}
    infer_from_state: ClassVar = {"input_size": ("weight_ih_l0", 1)}
    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def _set(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool,
        dropout: float, bidirectional: bool, dtype: Any, rng: Any, proj_size: int = 0,
    ) -> None:  # fmt: skip
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.proj_size = proj_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.has_bias = bias
        self.rng = np.random.default_rng() if rng is None else rng
        bound, rows = 1.0 / sqrt(hidden_size), self.gates * hidden_size
        given = proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else given * (1 + bidirectional)
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, width),
                    "weight_hh": (rows, given),
                }
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    values = init.uniform(shape, bound, dtype=dtype, rng=rng)
                    setattr(self, f"{name}_{suffix}", Parameter(values))

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"] if self.bidirectional else [f"l{layer}"]

    def _weights(self, suffix: str) -> tuple[Any, ...]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return tuple(getattr(self, f"{name}_{suffix}", None) for name in names)

    def step(self) -> Callable[..., Any]:
        """Return the recurrence: ``(input's share, state, weight, bias) -> state``."""
        raise NotImplementedError

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """Run along the sequence.

        Parameters
        ----------
        x
            ``(T, N, input_size)``, or ``(N, T, input_size)`` with ``batch_first``; without N for a
            single sequence.
        state
            ``(layers · directions, N, hidden_size)``, zeros by default; a pair (hidden, cell) for
            LSTM, whose hidden state has ``proj_size`` features where that is set.

        Returns
        -------
        output, state
            ``(T, N, directions · hidden_size)``, axes as in ``x``; and the last state.

        Raises
        ------
        ValueError
            Shapes do not fit.
        """
        single, x = self._expect(x)
        start = self._start(x, state, single)
        x, last = self._along(x, start)
        states = tuple(stack([state[i] for state in last]) for i in range(self.states))
        if single:
            x, states = x[:, 0], tuple(part[:, 0] for part in states)
        elif self.batch_first:
            x = transpose(x, 0, 1)
        return x, states if self.states > 1 else states[0]

    def _along(self, x: Any, start: tuple[Any, ...]) -> tuple[Any, list[tuple[Any, ...]]]:
        """Run all layers; return what the last gives at each step, and the last states."""
        steps = [x[t] for t in range(shape_of(x)[0])]
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            parts = []
            for back, suffix in enumerate(self._suffixes(layer)):
                own = tuple(part[len(last)] for part in start)
                out, state = _run(steps, own, self._weights(suffix), self.step(), bool(back))
                parts.append(out)
                last.append(state)
            steps = (
                parts[0]
                if len(parts) == 1
                else [cat(both, -1) for both in zip(*parts, strict=True)]
            )
            if self.dropout and layer < self.num_layers - 1:
                how = {"rng": self.rng}
                steps = [functional.dropout(h, self.dropout, self.training, **how) for h in steps]
        return stack(steps), last

    def _expect(self, x: Any) -> tuple[bool, Any]:
        name, shape = type(self).__name__, shape_of(x)
        axes = "(N, T, input_size)" if self.batch_first else "(T, N, input_size)"
        if len(shape) not in (2, 3):
            raise ValueError(f"{name}: an input {axes} is wanted, got {shape}")
        if shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: the input {shape} has {shape[-1]} features in its last axis, and "
                f"input_size is {self.input_size}"
            )
        if not shape[1 if self.batch_first and len(shape) == 3 else 0]:
            raise ValueError(f"{name}: a sequence of at least one step is wanted, got {shape}")
        expect.same_dtype(name, x, vars(self)["weight_hh_l0"])
        if len(shape) == 2:
            return True, x.reshape(shape[0], 1, shape[1])
        return False, transpose(x, 0, 1) if self.batch_first else x

    def _start(self, x: Any, state: Any, single: bool) -> tuple[Any, ...]:
        count, n = self.num_layers * (1 + self.bidirectional), shape_of(x)[1]
        widths = [self.proj_size or self.hidden_size, self.hidden_size][: self.states]
        shapes = [(count, n, width) for width in widths]
        if state is None:
            dtype = vars(self)["weight_hh_l0"].dtype
            return tuple(np.zeros(shape, dtype) for shape in shapes)
        parts = tuple(state) if self.states > 1 else (state,)
        wanted = [(count, width) for width in widths] if single else shapes
        found = [shape_of(part) for part in parts]
        if found != wanted:
            raise ValueError(
                f"{type(self).__name__}: the state must be {self.states} arrays of shape "
                f"{' and '.join(map(str, dict.fromkeys(wanted)))}, got {found}"
            )
        for part in parts:
            expect.same_dtype(
                f"{type(self).__name__} (its state)", part, vars(self)["weight_hh_l0"]
            )
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def extra_repr(self) -> str:
        """Return sizes and what differs from the default."""
        usual = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        usual["proj_size"] = 0
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += [f"{n}={getattr(self, n)}" for n, d in usual.items() if getattr(self, n) != d]
        return ", ".join(parts + ([] if self.has_bias else ["bias=False"]))


class RNN(_Recurrent):
    """``h ← tanh(W x + b + U h + c)``, or with relu.

    Shapes: see `RNN.forward`; ``weight_ih_l{k} (hidden_size, input_size)``.
    """

    gates: ClassVar = 1

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        num_layers: Size = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: Fraction = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.nonlinearity = checked_nonlinearity("RNN", nonlinearity)
        self._set(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype,
            rng,
        )  # fmt: skip

    def step(self) -> Callable[..., Any]:
        """Return the recurrence."""
        return rnn_step(relu if self.nonlinearity == "relu" else tanh)


class LSTM(_Recurrent):
    """Long short-term memory: gates i, f, g, o; ``c ← f·c + i·g``, ``h ← o·tanh(c)``.

    Shapes: see `LSTM.forward`; ``weight_ih_l{k} (4 · hidden_size, input_size)``. With ``proj_size``
    h is projected to so many features, ``h ← W_hr (o·tanh(c))``, in the output and in what the next
    step and layer are given (H. Sak et al., "Long Short-Term Memory Based Recurrent Neural Network
    Architectures for Large Vocabulary Speech Recognition", 2014).
    """

    gates: ClassVar = 4
    states: ClassVar = 2

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        num_layers: Size = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Fraction = 0.0,
        bidirectional: bool = False,
        proj_size: Count = 0,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        if proj_size >= hidden_size:
            raise ValueError(
                f"LSTM: proj_size must be below hidden_size, got {proj_size} and {hidden_size}"
            )
        self._set(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype,
            rng, proj_size,
        )  # fmt: skip

    def step(self) -> Callable[..., Any]:
        """Return the recurrence."""
        return lstm_step

    def _along(self, x: Any, start: tuple[Any, ...]) -> tuple[Any, list[tuple[Any, ...]]]:
        """Run all layers, each in one go along the sequence unless it has projections."""
        if self.proj_size:
            return super()._along(x, start)
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            parts = []
            for back, suffix in enumerate(self._suffixes(layer)):
                weight_ih, weight_hh, bias_ih, bias_hh, _ = self._weights(suffix)
                shares = linear(flip(x, 0) if back else x, weight_ih)
                hidden, cell = (part[len(last)] for part in start)
                bias = bias_ih + bias_hh if self.has_bias else None
                out, *state = lstm(shares, hidden, cell, weight_hh, bias)
                parts.append(flip(out, 0) if back else out)
                last.append(tuple(state))
            x = parts[0] if len(parts) == 1 else cat(parts, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = functional.dropout(x, self.dropout, self.training, rng=self.rng)
        return x, last


class GRU(_Recurrent):
    """Gated recurrent unit: gates r, z, n; ``h ← (1 - z)·n + z·h``.

    Shapes: see `GRU.forward`; ``weight_ih_l{k} (3 · hidden_size, input_size)``.
    """

    gates: ClassVar = 3

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        num_layers: Size = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Fraction = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype,
            rng,
        )  # fmt: skip

    def step(self) -> Callable[..., Any]:
        """Return the recurrence."""
        return gru_step


class LastStep(Module):
    """The output of a recurrent layer at the last step: what a classifier of sequences looks at.

    Takes what a recurrent layer returns, ``(output, state)``, with ``batch_first``: ``(N, T, H)``
    gives ``(N, H)``. A bidirectional layer's backward half is taken at the first step, where it has
    seen everything.
    """

    @checked
    def __init__(self, bidirectional: bool = False) -> None:
        self.bidirectional = bidirectional

    def forward(self, output: Any) -> Any:
        """Return the last hidden state."""
        x = output[0] if isinstance(output, tuple) else output
        if not self.bidirectional:
            return x[:, -1]
        half = shape_of(x)[-1] // 2
        return cat([x[:, -1, :half], x[:, 0, half:]], -1)
