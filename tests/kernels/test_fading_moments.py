"""Moments of a parameter without a gradient become 0, not numbers that processors are slow with."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import optimizers
from minidl.kernels.selection import use_kernels


@pytest.mark.parametrize("mode", ["numpy", "auto"])
def test_no_subnormal_number_is_left(mode: str) -> None:
    value, grad = np.ones(3, np.float32), np.array([1.0, 1.0, 0.0], np.float32)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    with use_kernels(mode):
        for step in range(1, 1025):
            optimizers.adam(
                value, grad, mean, square, step=step, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8,
                weight_decay=0.0, decoupled=False,
            )  # fmt: skip
            grad[1] = 0.0
    assert mean[0] == pytest.approx(1.0)
    assert mean[1:].tolist() == [0.0, 0.0]
    assert square[1] > 0.0
