"""Clipping of gradients by their joint norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import Tensor, optim
from minidl.nn import Parameter


def parameters(grads: list[Any]) -> list[Parameter]:
    made = []
    for grad in grads:
        array = np.zeros(2) if grad is None else np.zeros_like(grad)
        made.append(Parameter(array))
        made[-1].grad = None if grad is None else grad.copy()
    return made


def draw(dtype: str, scale: float) -> list[Any]:
    rng = np.random.default_rng(0)
    arrays = [(scale * rng.normal(size=shape)).astype(dtype) for shape in ((3, 4), (5,), (1, 1))]
    return [arrays[0], None, *arrays[1:]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 50.0])
def test_it_is_that_of_torch(torch: Any, dtype: str, scale: float, max_norm: float) -> None:
    ours = parameters(draw(dtype, scale))
    theirs = []
    for p in ours:
        theirs.append(torch.nn.Parameter(torch.tensor(p.detach().numpy())))
        theirs[-1].grad = None if p.grad is None else torch.tensor(p.grad.numpy())
    norm = optim.clip_grad_norm_(iter(ours), max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    assert norm == pytest.approx(expected.item(), rel=tolerance)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            assert p.grad.dtype == dtype
            np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=tolerance)


def test_it_works_in_place_on_an_optimizers_gradients() -> None:
    (p,) = parameters([np.array([3.0, 4.0])])
    optimizer = optim.SGD([p], lr=1.0)
    memory = p.grad.numpy()
    assert optim.clip_grad_norm_([p], 1.0) == 5.0
    assert p.grad.numpy() is memory
    optimizer.step()
    np.testing.assert_allclose(p.detach(), [-0.6, -0.8], rtol=1e-6)


def test_small_gradients_keep_their_bits() -> None:
    (p,) = parameters([np.array([0.3, 0.4])])
    assert optim.clip_grad_norm_([p], 1.0) == 0.5
    assert p.grad.tolist() == [0.3, 0.4]


def test_a_single_tensor_is_taken() -> None:
    (p,) = parameters([np.array([[3.0], [4.0]])])
    assert optim.clip_grad_norm_(p, 1.0) == 5.0
    np.testing.assert_allclose(p.grad, [[0.6], [0.8]], rtol=1e-6)


def test_squares_that_overflow_float32() -> None:
    (p,) = parameters([np.array([3e25, 4e25], np.float32)])
    assert optim.clip_grad_norm_([p], 1.0) == pytest.approx(5e25)
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_left_for_the_caller_to_see(bad: float) -> None:
    good, worse = parameters([np.array([3.0, 4.0]), np.array([bad, 1.0])])
    assert not np.isfinite(optim.clip_grad_norm_([good, worse], 1.0))
    assert good.grad.tolist() == [3.0, 4.0]


def test_no_gradients() -> None:
    assert optim.clip_grad_norm_([], 1.0) == 0.0
    assert optim.clip_grad_norm_([Parameter([1.0]), Tensor([1.0])], 1.0) == 0.0


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_refuses(max_norm: float) -> None:
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        optim.clip_grad_norm_([], max_norm)
