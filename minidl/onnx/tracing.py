"""A run of a model that notes every operation on what depends on its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Box, Level, Primitive, as_array, box, clock, no_grad
from minidl.nn.module import Module
from minidl.tensor import Tensor


@dataclass(frozen=True)
class Ref:
    """A value of the trace, by its number; its shape and dtype at this batch size."""

    number: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass
class Step:
    """One operation, or one layer (``module``), on values of the trace and constants."""

    kind: str
    args: list[Any]
    params: dict[str, Any]
    outputs: list[Ref]
    module: Module | None = None
    place: str = ""


@dataclass
class Trace:
    """What one run did."""

    batch: int
    inputs: list[Ref]
    outputs: list[Ref] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class OnnxLevel(Level):
    """Runs operations one level down, and notes them."""

    __slots__ = ("count", "place", "trace")

    def __init__(self) -> None:
        super().__init__(clock())
        self.count = 0
        self.place: list[str] = []
        self.trace: Trace

    def new(self, value: Array) -> tuple[Any, Ref]:
        """Return a box for a value, and its reference."""
        ref = Ref(self.count, tuple(value.shape), value.dtype)
        self.count += 1
        return box(value, self, ref), ref

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run an operation and note it; one that stands for several as those."""
        if primitive.composed is not None:
            return primitive.composed(*args, **params)
        values = [a.value if self.owns(a) else a for a in args]
        made, ref = self.new(as_array(primitive(*values, **params)))
        noted = [a.trace if self.owns(a) else a for a in args]
        place = self.place[-1] if self.place else "the model's forward"
        self.trace.steps.append(Step(primitive.name, noted, params, [ref], place=place))
        return made

    def owns(self, value: Any) -> bool:
        """Whether a value is one of this trace."""
        return isinstance(value, Box) and value.level is self


def trace(
    model: Module, arrays: list[Array], handled: Callable[[Module, list[Any]], bool]
) -> Trace:
    """Run a model in evaluation mode, without derivatives.

    Parameters
    ----------
    handled
        Says of a layer and its arguments whether it is noted as one step.

    Raises
    ------
    ValueError
        The output does not depend on the inputs.
    """
    level = OnnxLevel()
    boxes, refs = zip(*(level.new(array) for array in arrays), strict=True)
    level.trace = Trace(len(arrays[0]), list(refs))
    training = model.training
    try:
        with no_grad(), _watched(model.eval(), level, handled):
            output = model(*boxes)
    finally:
        level.closed = True
        model.train(training)
    for part in _flat(output):
        if part is None:
            continue
        if not level.owns(part):
            raise ValueError(
                "export: an output does not depend on the inputs by minidl's operations"
            )
        level.trace.outputs.append(part.trace)
    return level.trace


@contextmanager
def _watched(
    model: Module, level: OnnxLevel, handled: Callable[[Module, list[Any]], bool]
) -> Iterator[None]:
    """Let every layer tell where it is, and the handled ones run as one step."""
    watched: list[Module] = []
    try:
        for name, module in model.named_modules():
            if "forward" not in vars(module):
                watched.append(module)
                vars(module)["forward"] = _forward(name, module, level, handled)
        yield
    finally:
        for module in watched:
            del vars(module)["forward"]


def _forward(
    name: str, module: Module, level: OnnxLevel, handled: Callable[[Module, list[Any]], bool]
) -> Callable[..., Any]:
    real = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        place = f"{name or 'the model'} ({type(module).__name__})"
        inside = any(level.owns(arg) for arg in args) and not kwargs
        if not (inside and handled(module, list(args))):
            level.place.append(place)
            try:
                return real(*args, **kwargs)
            finally:
                level.place.pop()
        outside: Mapping[str, Any] = {"forward": vars(module).pop("forward")}
        try:
            plain = [
                Tensor(arg.value) if level.owns(arg) else arg for arg in args
            ]  # the layer itself runs below the trace
            output = real(*plain)
        finally:
            vars(module).update(outside)
        several = isinstance(output, tuple)
        flat = _flat(output)
        made, refs = zip(*(level.new(_array(part)) for part in flat), strict=True)
        noted = [arg.trace if level.owns(arg) else arg for arg in args]
        level.trace.steps.append(Step("layer", noted, {}, list(refs), module, place))
        return _like(output, iter(made)) if several else made[0]

    return forward


def _array(value: Any) -> Array:
    return np.asarray(value.detach() if isinstance(value, Tensor) else value)


def _flat(output: Any) -> list[Any]:
    if isinstance(output, (tuple, list)):
        return [leaf for part in output for leaf in _flat(part)]
    return [output]


def _like(output: Any, made: Iterator[Any]) -> Any:
    if isinstance(output, tuple):
        return tuple(_like(part, made) for part in output)
    return next(made)
