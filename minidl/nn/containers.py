"""Modules that hold modules: in sequence, in lists, in dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from minidl.nn.module import Module, Parameter


def as_module(owner: str, place: str, value: Any) -> Module:
    """Return ``value``, which must be a module.

    Raises
    ------
    TypeError
        It is none.
    """
    if not isinstance(value, Module):
        raise TypeError(f"{owner}: {place} is {value!r}, a Module is wanted")
    return value


class _Numbered(Module):
    """Modules under the names 0, 1, 2 and so on."""

    def _add(self, modules: Iterable[Module]) -> None:
        for module in modules:
            number = len(self)
            place = f"argument {number}"
            setattr(self, str(number), as_module(type(self).__name__, place, module))

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
        setattr(self, str(index % len(self)), as_module(type(self).__name__, place, module))

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
                self.add_module(name, as_module("Sequential", name, module))
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
        self.add_module(name, as_module("ModuleDict", name, module))

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
