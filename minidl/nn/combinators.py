"""Flux's combinators: layers side by side, around, or across each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Size, checked
from minidl.nn import expect
from minidl.nn.containers import ModuleList, as_module
from minidl.nn.module import Module, Parameter
from minidl.ops.arithmetic import maximum
from minidl.ops.joining import cat

Connection = Literal["add", "mul", "cat", "sub", "mean"]

_CONNECTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda *parts: _fold(lambda a, b: a + b, parts),
    "mul": lambda *parts: _fold(lambda a, b: a * b, parts),
    "sub": lambda *parts: _fold(lambda a, b: a - b, parts),
    "mean": lambda *parts: _fold(lambda a, b: a + b, parts) * (1.0 / len(parts)),
    "cat": lambda *parts: cat(list(parts), 1),
}


def _fold(function: Callable[[Any, Any], Any], parts: tuple[Any, ...]) -> Any:
    result = parts[0]
    for part in parts[1:]:
        result = function(result, part)
    return result


def _connection(owner: str, given: Any) -> Callable[..., Any]:
    if callable(given):
        return given  # type: ignore[no-any-return]
    if given not in _CONNECTIONS:
        raise ValueError(
            f"{owner}: connection must be a function or one of {sorted(_CONNECTIONS)}, "
            f"got {given!r}"
        )
    return _CONNECTIONS[given]


class _Combining(Module):
    connection: Any

    def _combine(self, *parts: Any) -> Any:
        return _connection(type(self).__name__, self.connection)(*parts)

    def extra_repr(self) -> str:
        """Return the connection."""
        named = isinstance(self.connection, str)
        return repr(self.connection) if named else getattr(self.connection, "__name__", "…")


class SkipConnection(_Combining):
    """``connection(layer(x), x)``: what a layer makes of its input, joined with the input.

    Parameters
    ----------
    connection
        A function, or ``"add"``, ``"mul"``, ``"sub"``, ``"mean"``, ``"cat"`` (along axis 1).
    """

    def __init__(self, layer: Module, connection: Connection | Callable[..., Any] = "add") -> None:
        _connection("SkipConnection", connection)
        self.layer = as_module("SkipConnection", "layer", layer)
        self.connection = connection

    def forward(self, x: Any) -> Any:
        """Return the layer's output joined with its input."""
        return self._combine(self.layer(x), x)


class Parallel(_Combining):
    """Several layers on one input (or one each), their outputs joined: ``connection(f(x), g(x))``.

    Parameters
    ----------
    connection
        As in `SkipConnection`.
    """

    def __init__(self, connection: Connection | Callable[..., Any], *layers: Module) -> None:
        _connection("Parallel", connection)
        if not layers:
            raise ValueError("Parallel: there are no layers")
        self.connection = connection
        self.layers = ModuleList(layers)

    def forward(self, *inputs: Any) -> Any:
        """Return the outputs joined.

        Raises
        ------
        ValueError
            The number of inputs is neither one nor that of the layers.
        """
        if len(inputs) == 1:
            inputs = inputs * len(self.layers)
        if len(inputs) != len(self.layers):
            raise ValueError(f"Parallel: {len(self.layers)} layers were given {len(inputs)} inputs")
        pairs = zip(self.layers, inputs, strict=True)
        return self._combine(*(layer(x) for layer, x in pairs))


class PairwiseFusion(_Combining):
    """Layers in a row, each on the joined result so far and the next input.

    ``y₁ = f₁(x₁)``, ``y₂ = f₂(connection(y₁, x₂))``, …; returns all ``y``. A single input serves
    for all.

    References
    ----------
    Flux.jl's layer of this name.
    """

    def __init__(self, connection: Connection | Callable[..., Any], *layers: Module) -> None:
        _connection("PairwiseFusion", connection)
        if not layers:
            raise ValueError("PairwiseFusion: there are no layers")
        self.connection = connection
        self.layers = ModuleList(layers)

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Return what each layer made.

        Raises
        ------
        ValueError
            The number of inputs is neither one nor that of the layers.
        """
        if len(inputs) == 1:
            inputs = inputs * len(self.layers)
        if len(inputs) != len(self.layers):
            raise ValueError(
                f"PairwiseFusion: {len(self.layers)} layers were given {len(inputs)} inputs"
            )
        outputs: list[Any] = []
        for layer, x in zip(self.layers, inputs, strict=True):
            outputs.append(layer(self._combine(outputs[-1], x) if outputs else x))
        return tuple(outputs)


class Maxout(Module):
    """The elementwise largest of what several layers make of one input.

    References
    ----------
    I. Goodfellow et al., "Maxout Networks", ICML 2013.
    """

    def __init__(self, *layers: Module) -> None:
        if not layers:
            raise ValueError("Maxout: there are no layers")
        self.layers = ModuleList(layers)

    def forward(self, x: Any) -> Any:
        """Return the largest output, element by element."""
        return _fold(maximum, tuple(layer(x) for layer in self.layers))


class Scale(Module):
    """A learned factor, and a learned shift, for each feature of the last axis.

    Shapes: ``(*, num_features)`` kept; ``scale`` and ``bias`` ``(num_features,)``.
    """

    infer: ClassVar = {"num_features": -1}
    infer_from_state: ClassVar = {"num_features": ("scale", 0)}

    @checked
    def __init__(
        self, num_features: Size, bias: bool = True, *, dtype: DTypeLike | None = None
    ) -> None:
        self.scale = Parameter(np.ones(num_features, dtype or np.float32))
        self.bias = Parameter(np.zeros(num_features, dtype or np.float32)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return ``x · scale + bias``.

        Raises
        ------
        ValueError
            The last axis has another length.
        """
        expect.same_dtype("Scale", x, self.scale)
        if tuple(x.shape[-1:]) != self.scale.shape:
            raise ValueError(
                f"Scale: the last axis of {tuple(x.shape)} must have {len(self.scale)} features"
            )
        scaled = x * self.scale
        return scaled if self.bias is None else scaled + self.bias

    def extra_repr(self) -> str:
        """Return the number of features."""
        return f"{len(self.scale)}" + (", bias=False" if self.bias is None else "")
