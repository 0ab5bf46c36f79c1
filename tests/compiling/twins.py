"""A step that is replayed beside the same step run eagerly, compared bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minidl
from minidl import nn, optim
from minidl.compiling import Compiled

#: A function that makes a step out of a model and its optimizer.
MakeStep = Callable[[nn.Module, Any], Callable[..., Any]]


def arrays_of(value: Any) -> Iterator[np.ndarray]:
    """Every array in what a step returned."""
    if isinstance(value, minidl.Tensor):
        yield value.detach().numpy()
    elif isinstance(value, (np.ndarray, np.generic, float)):
        yield np.asarray(value)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays_of(part)
    elif isinstance(value, dict):
        yield from arrays_of(list(value.values()))


def same_bits(one: Any, two: Any) -> bool:
    """Whether two trees have the same arrays to the last bit, lying in memory alike."""
    pairs = zip(arrays_of(one), arrays_of(two), strict=True)
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs
    )


def state_of(model: nn.Module, optimizer: Any = None) -> list[Any]:
    """Parameters, buffers, gradients and the optimizer's state."""
    found: list[Any] = [list(model.state_dict().values())]
    found.append([p.grad for p in model.parameters() if p.grad is not None])
    if optimizer is not None:
        found.append([list(entry.values()) for entry in optimizer.state_dict()["state"].values()])
    return found


class Twins:
    """Two models alike: one trained eagerly, one by a compiled step."""

    def __init__(
        self,
        model: nn.Module,
        make_step: MakeStep,
        make_optimizer: Callable[[Any], Any] = lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
        *,
        strict: bool = True,
    ) -> None:
        self.models = [model, copy.deepcopy(model)]
        self.optimizers = [
            make_optimizer(list(m.parameters())) if any(True for _ in m.parameters()) else None
            for m in self.models
        ]
        pairs = zip(self.models, self.optimizers, strict=True)
        self.eager, second = (make_step(m, o) for m, o in pairs)
        self.compiled: Compiled[..., Any] = minidl.compile(second, strict=strict)

    def both(self, change: Callable[..., Any]) -> None:
        """Do something to both models between steps."""
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            change(model, optimizer)

    def step(self, *args: Any) -> Any:
        """Take a step with both, and hold them together."""
        one, two = self.eager(*args), self.compiled(*args)
        assert same_bits(one, two)
        states = [state_of(m, o) for m, o in zip(self.models, self.optimizers, strict=True)]
        assert same_bits(*states)
        return two


def flat(out: Any) -> list[Any]:
    """The floating arrays in a tuple of them."""
    if isinstance(out, tuple):
        return [part for each in out for part in flat(each)]
    return [out] if out is not None and out.dtype.kind == "f" else []


def descend(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
    """A step that makes the squares of a model's output small."""

    def step(*inputs: Any) -> Any:
        if optimizer is not None:
            optimizer.zero_grad()
        out = model(*inputs)
        loss = sum((minidl.mean(part * part) for part in flat(out)), 0.0)
        if optimizer is not None and loss.requires_grad:
            loss.backward()
            optimizer.step()
        return loss, out

    return step
