"""Tables of vectors: rows held short, gradients by frequency, tables that are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn

WORDS = np.array([[0, 1, 1], [2, 5, 0]])


def both(torch: Any, build: Any) -> tuple[Any, Any]:
    theirs = build(torch.nn).double()
    ours = build(nn).double()
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_rows_are_held_short_as_in_torch(torch: Any, kind: str, norm_type: float) -> None:
    ours, theirs = both(torch, lambda n: getattr(n, kind)(6, 3, max_norm=0.8, norm_type=norm_type))
    a, b = ours(WORDS), theirs(torch.from_numpy(WORDS))
    np.testing.assert_allclose(a.detach(), b.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.weight.detach(), theirs.weight.detach().numpy(), rtol=1e-12)
    (a * a).sum().backward()
    (b * b).sum().backward()
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-12)
    norms = np.linalg.norm(ours.weight.detach().numpy(), norm_type, axis=1)
    assert norms[[0, 1, 2, 5]].max() < 0.8 + 1e-6


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("flat", [False, True])
def test_a_bags_gradients_are_divided_by_how_often_a_row_is_named(mode: Any, flat: bool) -> None:
    # By definition: PyTorch's kernel divides by the count of another row than the one it is at.
    plain = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=4).double()
    scaled = nn.EmbeddingBag(6, 3, scale_grad_by_freq=True, mode=mode, padding_idx=4).double()
    scaled.load_state_dict(plain.state_dict())
    words = np.array([[0, 1, 1], [2, 4, 0]])
    given = (words.ravel(), np.array([0, 3])) if flat else (words,)
    a, b = plain(*given), scaled(*given)
    np.testing.assert_array_equal(a.detach(), b.detach())
    (a * a).sum().backward()
    (b * b).sum().backward()
    counts = np.maximum(np.bincount(words.ravel(), minlength=6), 1)[:, None]
    np.testing.assert_allclose(scaled.weight.grad, plain.weight.grad.numpy() / counts)


def test_a_given_table() -> None:
    table = np.random.default_rng(0).normal(size=(4, 3))
    frozen = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert (frozen.weight.requires_grad, frozen.padding_idx) == (False, 1)
    np.testing.assert_array_equal(frozen(np.array([3, 1])), table[[3, 1]])
    bag = nn.EmbeddingBag.from_pretrained(minidl.Tensor(table), freeze=False, mode="sum")
    bag(np.array([[0, 3]])).sum().backward()
    assert bag.weight.grad.numpy()[:, 0].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert not np.shares_memory(bag.weight.detach().numpy(), table)
