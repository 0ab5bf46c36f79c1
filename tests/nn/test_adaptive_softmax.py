"""The adaptive softmax against PyTorch's, and against a softmax over all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn


def test_values_gradients_and_state_are_those_of_torch(torch: Any) -> None:
    args: Any = (8, 20, [4, 9])
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(*args, div_value=2.0, head_bias=True).double()
    ours = nn.AdaptiveLogSoftmaxWithLoss(*args, div_value=2.0, head_bias=True).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(6, 8))
    labels = np.array([0, 19, 5, 3, 8, 9])
    a, b = minidl.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    mine, other = ours(a, labels), theirs(b, torch.from_numpy(labels))
    np.testing.assert_allclose(mine.output.detach(), other.output.detach(), rtol=1e-10)
    np.testing.assert_allclose(mine.loss.item(), other.loss.item(), rtol=1e-10)
    mine.loss.backward()
    other.loss.backward()
    np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-9, atol=1e-12)
    whole = ours.log_prob(x).detach().numpy()
    np.testing.assert_allclose(whole, theirs.log_prob(b).detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(np.exp(whole).sum(1), 1.0)
    np.testing.assert_array_equal(ours.predict(x).numpy(), theirs.predict(b).numpy())
    np.testing.assert_allclose(whole[np.arange(6), labels], mine.output.detach(), rtol=1e-10)
    assert ours(x[0], labels[0]).output.shape == ()


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [3, 2]), ValueError, "must rise"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [5]), ValueError, "below the 5 classes"),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [2])(np.ones((1, 4), "f4"), np.array([5])),
            IndexError,
            "targets 5 to 5",
        ),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [2])(
                np.ones((0, 4), "f4"), np.zeros(0, int)
            ),
            ValueError,
            "as many targets",
        ),
    ],
)
def test_refuses(action: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        action()
