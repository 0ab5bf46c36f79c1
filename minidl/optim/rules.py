"""The few rules that optimizers are made of, on blocks of flat arrays.

An update runs through its parameters block by block; a block of each array stays in cache through
all the rules of a formula. Rules that end in an underscore change their first argument in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.optimizers import BLOCK
from minidl.optim.flat import Segment


def blocks(segment: Segment, *names: str) -> Iterator[list[Array]]:
    """Yield value, gradient and the named state arrays of a segment, block by block."""
    arrays = [segment.value, segment.grad, *(segment.state[name] for name in names)]
    for start in range(0, len(segment.value), BLOCK):
        yield [array[start : start + BLOCK] for array in arrays]


def decayed(g: Array, p: Array, settings: Mapping[str, Any]) -> Array:
    """Return the gradient of the loss with ``weight_decay · |p|² / 2`` added: coupled decay."""
    rate = settings["weight_decay"]
    return g + rate * p if rate else g


def shrink_(p: Array, settings: Mapping[str, Any]) -> None:
    """Shrink parameters by ``lr · weight_decay``, apart from the gradient: decoupled decay."""
    if settings["weight_decay"]:
        p *= 1.0 - settings["lr"] * settings["weight_decay"]


def follow_(average: Array, value: Array, weight: float) -> None:
    """Move a running average towards ``value`` by ``weight``."""
    average += weight * (value - average)


def correction(beta: float, step: int) -> float:
    """Return what a running average from zero lacks after ``step`` steps: 1 - betaᵗ."""
    return float(1.0 - beta**step)


def moments_(m: Array, v: Array, g: Array, betas: tuple[float, float]) -> None:
    """Follow the gradient and its square."""
    follow_(m, g, 1.0 - betas[0])
    v *= betas[1]
    v += (1.0 - betas[1]) * (g * g)


def adam_direction(m: Array, v: Array, step: int, betas: tuple[float, float], eps: float) -> Array:
    """Return ``m̂ / (√v̂ + eps)``."""
    root = np.sqrt(v) * (1.0 / np.sqrt(correction(betas[1], step)).item()) + eps
    direction: Array = m / root
    direction *= 1.0 / correction(betas[0], step)
    return direction


def norm(x: Array) -> float:
    """Return the 2-norm, safe from overflow."""
    return float(np.linalg.norm(x.astype(np.float64, copy=False)))


def trust_ratio(p: Array, u: Array) -> float:
    """Return ``‖p‖ / ‖u‖``, 1 where one of them is zero."""
    a, b = norm(p), norm(u)
    return a / b if a > 0.0 and b > 0.0 else 1.0
