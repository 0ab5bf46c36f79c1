"""One step of a recurrence, as a function and as a module."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Size, checked
from minidl.nn import expect, init
from minidl.nn.module import Module, Parameter
from minidl.ops.elementwise import relu, sigmoid, tanh
from minidl.ops.gates import lstm_memory, lstm_shown
from minidl.ops.products import linear
from minidl.ops.shape import shape_of

Nonlinearity = Literal["tanh", "relu"]


def rnn_step(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return the recurrence ``h ← function(x + U h + c)``."""

    def step(x: Any, state: tuple[Any, ...], weight: Any, bias: Any) -> tuple[Any, ...]:
        return (function(x + linear(state[0], weight, bias)),)

    return step


def lstm_step(x: Any, state: tuple[Any, ...], weight: Any, bias: Any) -> tuple[Any, ...]:
    """Return hidden and cell state, from the input's share of the gates."""
    hidden, cell = state
    gates = x + linear(hidden, weight, bias)
    cell = lstm_memory(gates, cell)
    return lstm_shown(gates, cell), cell


def gru_step(x: Any, state: tuple[Any, ...], weight: Any, bias: Any) -> tuple[Any, ...]:
    """Return the hidden state, from the input's share of the gates."""
    (hidden,) = state
    n = shape_of(hidden)[-1]
    own = linear(hidden, weight, bias)
    both = sigmoid(x[..., : 2 * n] + own[..., : 2 * n])
    candidate = tanh(x[..., 2 * n :] + both[..., :n] * own[..., 2 * n :])
    return (candidate + both[..., n:] * (hidden - candidate),)


def checked_nonlinearity(name: str, given: str) -> str:
    """Return ``given``, which must be known.

    Raises
    ------
    ValueError
        It is not.
    """
    if given not in ("tanh", "relu"):
        raise ValueError(f"{name}: nonlinearity must be 'tanh' or 'relu', got {given!r}")
    return given


class _Cell(Module):
    """One step of a recurrence."""

    infer: ClassVar = {"input_size": -1}
    infer_from_state: ClassVar = {"input_size": ("weight_ih", 1)}
    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def _set(self, input_size: int, hidden_size: int, bias: bool, dtype: Any, rng: Any) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        how = {"bound": 1.0 / sqrt(hidden_size), "dtype": dtype, "rng": rng}
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(init.uniform((rows, input_size), **how))
        self.weight_hh = Parameter(init.uniform((rows, hidden_size), **how))
        self.bias_ih = Parameter(init.uniform((rows,), **how)) if bias else None
        self.bias_hh = Parameter(init.uniform((rows,), **how)) if bias else None

    def step(self) -> Callable[..., Any]:
        """Return the recurrence: ``(input's share, state, weight, bias) -> state``."""
        raise NotImplementedError

    def forward(self, x: Any, state: Any = None) -> Any:
        """Take one step: ``x (N, input_size)`` or ``(input_size,)``; zeros are the first state.

        Raises
        ------
        ValueError
            Shapes do not fit.
        """
        name, shape = type(self).__name__, shape_of(x)
        if len(shape) not in (1, 2) or shape[-1] != self.input_size:
            raise ValueError(f"{name}: an input (N, {self.input_size}) is wanted, got {shape}")
        expect.same_dtype(name, x, self.weight_ih)
        wanted = (*shape[:-1], self.hidden_size)
        if state is None:
            parts: tuple[Any, ...] = (np.zeros(wanted, self.weight_hh.dtype),) * self.states
        else:
            parts = tuple(state) if self.states > 1 else (state,)
        if any(shape_of(part) != wanted for part in parts):
            found = [shape_of(part) for part in parts]
            raise ValueError(f"{name}: a state of shape {wanted} is wanted, got {found}")
        for part in parts:
            expect.same_dtype(f"{name} (its state)", part, self.weight_hh)
        share = linear(x, self.weight_ih, self.bias_ih)
        after: tuple[Any, ...] = self.step()(share, parts, self.weight_hh, self.bias_hh)
        return after if self.states > 1 else after[0]

    def extra_repr(self) -> str:
        """Return the sizes."""
        last = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{last}"


class RNNCell(_Cell):
    """One step of `RNN`."""

    gates: ClassVar = 1

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.nonlinearity = checked_nonlinearity("RNNCell", nonlinearity)
        self._set(input_size, hidden_size, bias, dtype, rng)

    def step(self) -> Callable[..., Any]:
        """Return the recurrence."""
        return rnn_step(relu if self.nonlinearity == "relu" else tanh)


class LSTMCell(_Cell):
    """One step of `LSTM`; the state is a pair (hidden, cell)."""

    gates: ClassVar = 4
    states: ClassVar = 2

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(input_size, hidden_size, bias, dtype, rng)

    def step(self) -> Callable[..., Any]:
        """Return the recurrence."""
        return lstm_step


class GRUCell(_Cell):
    """One step of `GRU`."""

    gates: ClassVar = 3

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(input_size, hidden_size, bias, dtype, rng)

    def step(self) -> Callable[..., Any]:
        """Return the recurrence."""
        return gru_step
