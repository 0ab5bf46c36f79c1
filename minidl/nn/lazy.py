"""Layers whose sizes the first batch decides.

A `Lazy` layer stands for another one until it has seen an input (or a state to load); then it
becomes that layer, in place, so that whoever holds it holds the layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from minidl import arguments
from minidl.nn import conv, linear, normalization
from minidl.nn.module import Module
from minidl.ops.shape import shape_of


class Lazy(Module):
    """A layer of class ``cls``, once it is known what it is given.

    Parameters
    ----------
    cls
        A class whose ``infer`` names the arguments that follow from the input's shape.
    kwargs
        All its other arguments; also those in ``infer``, where they are known.

    Raises
    ------
    TypeError
        An argument is missing, unknown or of a wrong type.
    ValueError
        An argument is out of bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl import nn
    >>> layer = nn.LazyLinear(3)
    >>> layer
    LazyLinear(out_features=3)
    >>> layer(np.ones((2, 5), np.float32)).shape
    (2, 3)
    >>> layer
    Linear(5, 3)  # weight (3, 5); bias (3,); 18 parameters
    """

    def __init__(self, cls: type[Module], /, *args: Any, **kwargs: Any) -> None:
        self._cls = cls
        self._arguments = _check(cls, args, kwargs)

    @property
    def becomes_class(self) -> type[Module]:
        """The class of the layer that it will be."""
        return self._cls

    def require_sizes(self) -> None:
        """Raise: there are no tensors yet.

        Raises
        ------
        RuntimeError
            Always.
        """
        raise RuntimeError(
            f"{self._repr()}: its sizes are not known yet; give the model one batch (`model(x)`) "
            "or load a state before asking for parameters"
        )

    def materialize(self, shape: tuple[int, ...]) -> None:
        """Become the layer that takes inputs of this shape.

        Raises
        ------
        ValueError
            The shape has too few axes to tell.
        """
        sizes = {}
        for name, axis in self._cls.infer.items():
            if name not in self._arguments:
                if not -len(shape) <= axis < len(shape):
                    raise ValueError(
                        f"{self._cls.__name__}: `{name}` cannot be inferred from an input of shape "
                        f"{shape}; give it, or check the layer before"
                    )
                sizes[name] = shape[axis]
        self._become(sizes)

    def prepare_to_load(self, state: Mapping[str, Any], prefix: str) -> None:
        """Become the layer whose tensors ``state`` holds, if it holds them."""
        sizes = {}
        for name, (tensor, axis) in self._cls.infer_from_state.items():
            if prefix + tensor not in state:
                return  # the caller tells what is missing
            groups = self._arguments.get("groups", 1) if (tensor, axis) == ("weight", 1) else 1
            sizes[name] = state[prefix + tensor].shape[axis] * groups
        self._become({name: n for name, n in sizes.items() if name not in self._arguments})

    def _become(self, sizes: dict[str, int]) -> None:
        made = self._cls(**sizes, **self._arguments)
        training, hooks = self.training, vars(self).get("_hooks")
        vars(self).clear()
        self.__class__ = type(made)  # type: ignore[assignment]
        vars(self).update(vars(made))
        self.training = training
        if hooks is not None:
            self._hooks = hooks

    def forward(self, x: Any, *others: Any) -> Any:
        """Become the layer that takes ``x``, and return what it makes of it."""
        self.materialize(shape_of(x))
        return self.forward(x, *others)  # which is another method now

    def extra_repr(self) -> str:
        """Return the arguments that are known."""
        return ", ".join(
            f"{name}={value!r}" for name, value in self._arguments.items() if name != "rng"
        )

    def _repr(self) -> str:
        named = type(self) is not Lazy
        return f"{type(self).__name__ if named else self._cls.__name__}({self.extra_repr()})"

    def _lines(self) -> list[str]:
        return [self._repr()]


def _check(cls: type[Module], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments by name, held against the signature of ``cls``."""
    signature = inspect.signature(cls.__init__)
    _, *parameters = signature.parameters.values()
    left = [p for p in parameters if p.name not in cls.infer or p.name in kwargs]
    given = inspect.Signature(left).bind(*args, **kwargs).arguments
    hints = get_type_hints(inspect.unwrap(cls.__init__), include_extras=True)
    for name, value in given.items():
        if name in hints:
            arguments.check(name, value, hints[name])
    return dict(given)


def _lazy(cls: type[Module]) -> Any:
    """Make the lazy class of a layer, under PyTorch's name for it."""

    def construct(self: Lazy, *args: Any, **kwargs: Any) -> None:
        Lazy.__init__(self, cls, *args, **kwargs)

    sizes = ", ".join(f"``{name}``" for name in cls.infer)
    name = f"Lazy{cls.__name__}"
    doc = f"`{cls.__name__}` whose {sizes} the first input decides."
    space = {"__init__": construct, "__doc__": doc, "__module__": __name__}
    return type(name, (Lazy,), space)


LazyLinear = _lazy(linear.Linear)
LazyConv1d = _lazy(conv.Conv1d)
LazyConv2d = _lazy(conv.Conv2d)
LazyConv3d = _lazy(conv.Conv3d)
LazyConvTranspose1d = _lazy(conv.ConvTranspose1d)
LazyConvTranspose2d = _lazy(conv.ConvTranspose2d)
LazyConvTranspose3d = _lazy(conv.ConvTranspose3d)
LazyBatchNorm1d = _lazy(normalization.BatchNorm1d)
LazyBatchNorm2d = _lazy(normalization.BatchNorm2d)
LazyBatchNorm3d = _lazy(normalization.BatchNorm3d)
LazyInstanceNorm1d = _lazy(normalization.InstanceNorm1d)
LazyInstanceNorm2d = _lazy(normalization.InstanceNorm2d)
LazyInstanceNorm3d = _lazy(normalization.InstanceNorm3d)
