"""Parameters, their gradients and an optimizer's state, each in one flat array.

A model of twenty parameters would otherwise be updated in twenty rounds of small NumPy calls;
laid end to end it takes one pass. Each parameter's array becomes a view of its piece, and its
leaf is told to put gradients into the piece of the gradient array, so nothing is copied later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.arrays import device_of
from minidl.autograd.primitive import Array, place_of
from minidl.autograd.reverse import Leaf
from minidl.tensor import Tensor


class Segment(NamedTuple):
    """Neighbouring parameters that take the same step, end to end."""

    value: Array
    grad: Array
    state: dict[str, Array]
    step: int
    #: The shape of each parameter in it.
    shapes: tuple[tuple[int, ...], ...] = ()

    def tensors(self) -> Iterator[Segment]:
        """Yield the parameters one by one, in their shapes: views of the flat arrays."""
        start = 0
        for shape in self.shapes:
            piece = slice(start, start + math.prod(shape))
            start = piece.stop
            state = {name: array[piece].reshape(shape) for name, array in self.state.items()}
            value, grad = self.value[piece].reshape(shape), self.grad[piece].reshape(shape)
            yield Segment(value, grad, state, self.step, (shape,))


class FlatParameters:
    """Parameters of one dtype, laid end to end.

    Parameters
    ----------
    parameters
        Their arrays are replaced by views of ``value``.
    state
        Names of the state arrays to keep, zero at first.
    """

    def __init__(self, parameters: Sequence[Tensor], state: Sequence[str]) -> None:
        self.parameters = list(parameters)
        bounds = np.cumsum([0, *(p.numel() for p in self.parameters)])
        self.pieces = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
        dtype, place = self.parameters[0].dtype, place_of(self.parameters[0])
        self.value = np.empty(bounds[-1], dtype, like=place)
        self.grad = np.zeros(bounds[-1], dtype, like=place)
        self.state = {name: np.zeros(bounds[-1], dtype, like=place) for name in state}
        self.steps = [0] * len(self.parameters)
        self.views = [
            (self.value[piece].reshape(p.shape), self.grad[piece].reshape(p.shape))
            for p, piece in zip(self.parameters, self.pieces, strict=True)
        ]
        for i in range(len(self.parameters)):
            self._adopt(i)

    def __getstate__(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "state": self.state, "steps": self.steps}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        # Copied one by one (deepcopy, pickle), views would no longer be views of the flat arrays,
        # and a step would change arrays that no parameter looks at.
        FlatParameters.__init__(self, saved["parameters"], tuple(saved["state"]))
        self.state, self.steps = saved["state"], saved["steps"]

    def _adopt(self, i: int) -> None:
        """Move a parameter (and the gradient it has) into its piece."""
        parameter, (value, grad) = self.parameters[i], self.views[i]
        if parameter.value is not value:
            if parameter.dtype != value.dtype:
                raise TypeError(
                    f"a parameter of shape {parameter.shape} became {parameter.dtype} after the "
                    f"optimizer was made, which holds {value.dtype}; convert the model before"
                )
            if type(parameter.value) is not type(value):
                raise TypeError(
                    f"a parameter of shape {parameter.shape} was moved to {parameter.device} after "
                    f"the optimizer was made, which is on {device_of(value)}; move the model before"
                )
            value[...] = parameter.value
            parameter.value = value
        leaf = parameter.trace
        if isinstance(leaf, Leaf):
            leaf.buffer = grad
            if leaf.grad is not None and leaf.grad.value is not grad:
                grad[...] = leaf.grad.detach().value
                leaf.grad = Tensor(grad)

    def segments(self) -> Iterator[Segment]:
        """Count a step for every parameter that has a gradient, and yield what to update.

        Parameters that were given another array or another leaf meanwhile (by another optimizer,
        or by freezing and unfreezing) are taken in again first.
        """
        ready = []
        for i, parameter in enumerate(self.parameters):
            self._adopt(i)
            if parameter.requires_grad and parameter.grad is not None:
                self.steps[i] += 1
                parameter.trace.touch()
                ready.append(i)
        start = 0
        for end in range(1, len(ready) + 1):
            last = ready[end - 1]
            following = ready[end] if end < len(ready) else None
            if following == last + 1 and self.steps[following] == self.steps[last]:
                continue
            piece = slice(self.pieces[ready[start]].start, self.pieces[last].stop)
            yield Segment(
                self.value[piece],
                self.grad[piece],
                {name: array[piece] for name, array in self.state.items()},
                self.steps[last],
                tuple(self.parameters[i].shape for i in range(ready[start], last + 1)),
            )
            start = end
