"""Modules that are a function and its settings: activations, pools, losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from minidl.nn.module import Module
from minidl.tensor import Tensor


class FunctionModule(Module):
    """A module that calls one ``function`` with its settings.

    A subclass names the function and keeps each argument of its ``__init__`` as an attribute of
    the same name: these are passed by name, and the repr shows those that are not as usual.
    """

    function: ClassVar[Callable[..., Any]]
    #: The settings and their defaults (`inspect.Parameter.empty` where there is none).
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        constructor = inspect.unwrap(cls.__init__)
        if constructor is not object.__init__:
            _, *parameters = inspect.signature(constructor).parameters.values()
            cls.settings = {parameter.name: parameter.default for parameter in parameters}

    def arguments(self) -> dict[str, Any]:
        """Return the settings that the function is given."""
        return {name: getattr(self, name) for name in self.settings}

    def forward(self, *inputs: Any) -> Any:
        """Call the function."""
        return type(self).function(*inputs, **self.arguments())

    def extra_repr(self) -> str:
        """Return the settings that differ from the defaults."""
        shown = {name: value for name, value in self.arguments().items() if name != "rng"}
        return ", ".join(
            f"{name}={_brief(value)}"
            for name, value in shown.items()
            if isinstance(value, Tensor) or value != self.settings[name]
        )


def _brief(value: Any) -> str:
    return f"({', '.join(map(str, value.shape))})" if isinstance(value, Tensor) else repr(value)
