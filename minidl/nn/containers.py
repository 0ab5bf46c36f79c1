"""Modules that hold modules: in sequence, in lists, in dictionaries, and Flux's combinators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Size, checked
from minidl.nn import expect
from minidl.nn.module import Module, Parameter
from minidl.ops.arithmetic import maximum
from minidl.ops.joining import cat


def _module(owner: str, place: str, value: Any) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{owner}: {place} is {value!r}, a Module is wanted")
    return value


class _Numbered(Module):
    """Modules under the names 0, 1, 2 and so on."""

    def _add(self, modules: Iterable[Module]) -> None:
        for module in modules:
            number = len(self)
            place = f"argument {number}"
            setattr(self, str(number), _module(type(self).__name__, place, module))

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module:
        modules = list(self.children())
        if isinstance(index, slice):
            return self._of(modules[index])
        if not -len(modules) <= index < len(modules):
            raise IndexError(f"{type(self).__name__}: no module {index}; there are {len(modules)}")
        return modules[index]

    def __setitem__(self, index: int, module: Module) -> None:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: no module {index}; there are {len(self)}")
        place = f"argument {index}"
        setattr(self, str(index % len(self)), _module(type(self).__name__, place, module))

    def _of(self, modules: Iterable[Module]) -> Module:
        raise NotImplementedError

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self._add([module])
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        self._add(list(modules))
        return self


class Sequential(_Numbered):
    """Modules called one after the other.

    Raises
    ------
    TypeError
        An argument is not a module.
    """

    def __init__(self, *layers: Module) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            for name, module in layers[0].items():
                self.add_module(name, _module("Sequential", name, module))
        else:
            self._add(layers)

    def _of(self, modules: Iterable[Module]) -> Module:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        """Call each module on the result of the one before."""
        for module in self.children():
            x = module(x)
        return x


class ModuleList(_Numbered):
    """Modules in a list; what they compute together is up to who holds it."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._add(modules)

    def _of(self, modules: Iterable[Module]) -> Module:
        return ModuleList(modules)


class ModuleDict(Module):
    """Modules by name, in the order in which they were added."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace modules."""
        for name, module in modules.items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if hasattr(type(self), name):
            raise ValueError(f"ModuleDict: {name!r} is a method's name; choose another")
        self.add_module(name, _module("ModuleDict", name, module))

    def __getitem__(self, name: str) -> Module:
        for key, module in self.named_children():
            if key == name:
                return module
        raise KeyError(f"ModuleDict: no module {name!r}; there are {list(self.keys())}")

    def __delitem__(self, name: str) -> None:
        _ = self[name]
        delattr(self, name)

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: str) -> bool:
        return name in list(self.keys())

    def keys(self) -> Iterator[str]:
        """Yield the names."""
        return (name for name, _ in self.named_children())

    def values(self) -> Iterator[Module]:
        """Yield the modules."""
        return self.children()

    def items(self) -> Iterator[tuple[str, Module]]:
        """Yield names and modules."""
        return self.named_children()


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)


class ParameterList(Module):
    """Parameters in a list; arrays become parameters."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        for value in values:
            self.append(value)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        setattr(self, str(len(self)), _parameter(value))
        return self

    def _own(self) -> list[Parameter]:
        return [value for value in vars(self).values() if isinstance(value, Parameter)]

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._own())

    def __getitem__(self, index: int) -> Parameter:
        own = self._own()
        if not -len(own) <= index < len(own):
            raise IndexError(f"ParameterList: no parameter {index}; there are {len(own)}")
        return own[index]


class ParameterDict(Module):
    """Parameters by name; arrays become parameters."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        for name, value in (values or {}).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name) or "." in name:
            raise ValueError(f"ParameterDict: {name!r} cannot be a name here; choose another")
        setattr(self, name, _parameter(value))

    def __getitem__(self, name: str) -> Parameter:
        found = vars(self).get(name)
        if not isinstance(found, Parameter):
            raise KeyError(f"ParameterDict: no parameter {name!r}; there are {list(self.keys())}")
        return found

    def __len__(self) -> int:
        return len(list(self.keys()))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: str) -> bool:
        return name in list(self.keys())

    def keys(self) -> Iterator[str]:
        """Yield the names."""
        return (name for name, value in vars(self).items() if isinstance(value, Parameter))

    def items(self) -> Iterator[tuple[str, Parameter]]:
        """Yield names and parameters."""
        return ((name, self[name]) for name in list(self.keys()))


# ---- Flux's combinators --------------------------------------------------------------------

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
        self.layer = _module("SkipConnection", "layer", layer)
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
