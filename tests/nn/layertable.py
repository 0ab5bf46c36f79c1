"""The records of the tables of layers and losses, from which the tests of this directory are made.

`build` is one expression for both frameworks: it is called with `minidl.nn` and with `torch.nn`,
so an entry also holds that names and arguments are PyTorch's. A public class without an entry
fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import nn


@dataclass(frozen=True)
class Layer:
    """A module, the shape it takes and the shape it gives.

    ``mode_matters``: training and evaluation differ. ``random``: training draws random numbers, so
    it cannot be compared element by element with another framework. ``ints``: the input is whole
    numbers below this. ``more``: shapes of further inputs. ``torch``: PyTorch has such a class.
    ``rtol``: of gradients against PyTorch, which rounds some constants to float32.
    """

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    out: tuple[int, ...]
    mode_matters: bool = False
    random: bool = False
    ints: int = 0
    more: tuple[tuple[int, ...], ...] = ()
    torch: bool = True
    rtol: float = 1e-9

    def make(self) -> nn.Module:
        module: nn.Module = self.build(nn)
        return module

    def inputs(self, dtype: Any = np.float64) -> list[np.ndarray]:
        """Distinct values, away from the kinks of relu and the ties of max pooling."""
        rng = np.random.default_rng(3)
        if self.ints:
            return [rng.integers(0, self.ints, self.shape)]
        found = []
        for shape in (self.shape, *self.more):
            size = int(np.prod(shape))
            values = (np.arange(size) + 0.5) / size * 4.0 - 2.0
            found.append(rng.permutation(values).reshape(shape).astype(dtype))
        return found


@dataclass(frozen=True)
class Loss:
    """A loss, and the arguments it takes: float ones are differentiated."""

    name: str
    build: Callable[[Any], Any]
    inputs: Callable[[], tuple[np.ndarray, ...]]
    out: tuple[int, ...] = ()
    torch: bool = True

    def make(self) -> nn.Module:
        module: nn.Module = self.build(nn)
        return module


@dataclass(frozen=True)
class Refusal:
    """What a class must refuse, and what it says."""

    cls: type[nn.Module]
    action: Callable[[], Any]
    error: type[Exception]
    message: str


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)
