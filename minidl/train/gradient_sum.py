"""Gradients summed over ranks after the backward pass, one flat array after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.distributed import World
from minidl.optim import Optimizer
from minidl.optim.flat import FlatParameters
from minidl.tensor import Tensor


class GradientSum:
    """Sums an optimizer's gradients over ranks; a parameter has one if it has one on any rank."""

    def __init__(self, world: World, optimizer: Optimizer) -> None:
        self.world, self.optimizer = world, optimizer

    def begin(self) -> None:
        """Before the backward pass that completes the gradients."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Sum nothing within this block."""
        yield

    def finish(self, values: Array) -> Array:
        """Sum the gradients, and a few numbers; return the sums of those."""
        parts: list[FlatParameters] = [part for parts in self.optimizer._flat for part in parts]
        there = [float(p.grad is not None) for part in parts for p in part.parameters]
        told: Array = self.world.sum(np.concatenate([values, there]))
        anywhere = iter(told[len(values) :] > 0)
        for part in parts:
            for parameter, (_, gradient) in zip(part.parameters, part.views, strict=True):
                self._complete(parameter, gradient, next(anywhere))
            part.grad[...] = self.world.sum(part.grad)
        return told[: len(values)]

    def _complete(self, parameter: Any, gradient: Array, anywhere: bool) -> None:
        """Let a gradient be zero that is there on other ranks only, or on none."""
        if parameter.grad is None:
            gradient[...] = 0.0
            if anywhere:
                parameter.grad = Tensor(gradient)
