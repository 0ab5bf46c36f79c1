"""The same trajectory here and in PyTorch: parameters that are pulled about by known gradients.

A gradient depends on the parameter as it stands, so that a difference once made stays and grows;
and on the step, so that moments and momentum have something to average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.nn import Parameter

SHAPES = [(3, 4), (4,), (), (2, 1, 3), (0, 2)]


def initial(shapes: Sequence[tuple[int, ...]] = SHAPES, dtypes: Sequence[str] = ("f8",)) -> Any:
    """Fresh starting values, always the same; dtypes are taken in turn."""
    rng = np.random.default_rng(11)
    return [
        np.asarray(rng.normal(size=shape)).astype(dtypes[i % len(dtypes)])
        for i, shape in enumerate(shapes)
    ]


def ours(**how: Any) -> list[Parameter]:
    return [Parameter(array) for array in initial(**how)]


def theirs(torch: Any, **how: Any) -> list[Any]:
    return [torch.nn.Parameter(torch.tensor(array)) for array in initial(**how)]


def gradient(value: np.ndarray, step: int, i: int) -> np.ndarray:
    rng = np.random.default_rng((step, i))
    wide = value.astype(np.float64)
    return np.asarray(0.5 * wide + np.sin(3 * wide) + rng.normal(size=value.shape)).astype(
        value.dtype
    )


def always(step: int, i: int) -> bool:
    return True


def run(
    optimizer: Any,
    parameters: Sequence[Any],
    steps: range,
    tensor: Callable[[np.ndarray], Any] = lambda array: array,
    has_gradient: Callable[[int, int], bool] = always,
    before: Callable[[int], None] = lambda step: None,
) -> list[np.ndarray]:
    """Take steps, and return the parameters after each, end to end."""
    history = []
    for step in steps:
        before(step)
        optimizer.zero_grad()
        for i, parameter in enumerate(parameters):
            if parameter.requires_grad and has_gradient(step, i):
                parameter.grad = tensor(gradient(parameter.detach().numpy(), step, i))
        optimizer.step()
        history.append(
            np.concatenate([p.detach().numpy().astype("f8").ravel() for p in parameters])
        )
    return history


def agree(a: Sequence[np.ndarray], b: Sequence[np.ndarray], tolerance: float = 1e-10) -> None:
    assert len(a) == len(b)
    np.testing.assert_allclose(np.stack(a), np.stack(b), rtol=tolerance, atol=tolerance)
