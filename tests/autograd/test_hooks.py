"""Hooks on Tensors and modules, held against PyTorch's where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn

X = np.array([1.0, -2.0, 3.0])


def test_a_hook_sees_the_gradient_and_may_replace_it() -> None:
    x = Tensor(X, requires_grad=True)
    y = x * x
    seen: list[Any] = []
    look = y.register_hook(lambda g: seen.append(g.numpy().copy()))
    y.register_hook(lambda g: g * 10.0)
    (y * 3.0).sum().backward(retain_graph=True)
    np.testing.assert_array_equal(seen[0], np.full(3, 3.0))
    np.testing.assert_array_equal(x.grad.numpy(), 60.0 * X)
    look.remove()
    look.remove()
    (y * 3.0).sum().backward()
    assert len(seen) == 1


def test_a_leaf_s_hook_is_called_once_with_the_whole_gradient() -> None:
    x = Tensor(X, requires_grad=True)
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g.numpy().copy()))
    (x * 2.0 + x * 3.0).sum().backward()
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], np.full(3, 5.0))


def test_a_hook_works_with_autograd_grad_and_create_graph() -> None:
    x = Tensor(X, requires_grad=True)
    x.register_hook(lambda g: g * x)
    (g,) = minidl.autograd.grad((x * x).sum(), x, create_graph=True)
    np.testing.assert_array_equal(g.detach().numpy(), 2 * X * X)
    (gg,) = minidl.autograd.grad(g.sum(), x)
    np.testing.assert_array_equal(gg.numpy(), 4 * X * X)


def test_a_hook_inside_a_transform() -> None:
    def f(x: Any) -> Any:
        y = x * x
        y.register_hook(lambda g: g * 2.0)
        return y.sum()

    np.testing.assert_array_equal(minidl.grad(f)(X), 4 * X)


def test_retain_grad() -> None:
    x = Tensor(X, requires_grad=True)
    y = x * x
    assert y.grad is None
    y.retain_grad()
    y.retain_grad()
    (y * y).sum().backward(retain_graph=True)
    np.testing.assert_array_equal(y.grad.numpy(), 2 * X**2)
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), 4 * X**2)


def test_errors() -> None:
    with pytest.raises(RuntimeError, match="register_hook: this Tensor does not require"):
        Tensor(X).register_hook(print)
    with pytest.raises(RuntimeError, match="retain_grad: this Tensor does not require"):
        Tensor(X).retain_grad()
    x = Tensor(X, requires_grad=True)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"a hook returned \(\) in place of a gradient of shape"):
        (x * x).sum().backward()


# ---- modules ----------------------------------------------------------------------------------


def test_forward_hooks_may_replace_arguments_and_output() -> None:
    layer = nn.ReLU()
    before = layer.register_forward_pre_hook(lambda module, args: args[0] * -1.0)
    after = layer.register_forward_hook(lambda module, args, out: out + 1.0)
    np.testing.assert_array_equal(layer(Tensor(X)).numpy(), [1.0, 3.0, 1.0])
    before.remove()
    np.testing.assert_array_equal(layer(Tensor(X)).numpy(), [2.0, 1.0, 4.0])
    after.remove()
    np.testing.assert_array_equal(layer(Tensor(X)).numpy(), [1.0, 0.0, 3.0])


def test_a_backward_hook_sees_both_ends() -> None:
    layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    seen: list[Any] = []
    layer.register_full_backward_hook(lambda module, gi, go: seen.append((module, gi, go)))
    x = Tensor(np.ones((4, 3), "f4"), requires_grad=True)
    (layer(x) * 2.0).sum().backward()
    ((module, (gi,), (go,)),) = seen
    assert module is layer
    np.testing.assert_array_equal(go.numpy(), np.full((4, 2), 2.0))
    np.testing.assert_allclose(gi.numpy(), x.grad.numpy())


def test_a_backward_hook_may_replace_the_gradient() -> None:
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda module, gi, go: (gi[0] * 0.0,))
    x = Tensor(X, requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(3))


def test_hooks_are_no_part_of_the_state() -> None:
    layer = nn.Linear(3, 2)
    names = list(layer.state_dict())
    layer.register_forward_hook(lambda *_: None)
    assert list(layer.state_dict()) == names
    assert "hooks" not in repr(layer)


def test_hooks_agree_with_pytorch(torch: Any) -> None:
    """The same network, hooks of each kind that all change what passes."""
    rng = np.random.default_rng(1)
    w, x = rng.standard_normal((2, 3)), rng.standard_normal((4, 3))

    def run(lib: Any, layer: Any, tanh: Any, leaf: Any) -> list[Any]:
        notes: list[Any] = []
        layer.register_forward_pre_hook(lambda m, args: (args[0] * 2.0,))
        layer.register_forward_hook(lambda m, args, out: out * 0.5)
        tanh.register_full_backward_hook(lambda m, gi, go: notes.append((gi[0], go[0])))
        layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 3.0,))
        hidden = layer(leaf)
        hidden.register_hook(lambda g: g + 1.0)
        (tanh(hidden) ** 2).sum().backward()
        return [leaf.grad, layer.weight.grad, *notes[0]]

    ours, theirs = nn.Linear(3, 2, bias=False).double(), torch.nn.Linear(3, 2, bias=False).double()
    ours.load_state_dict({"weight": w})
    theirs.load_state_dict({"weight": torch.tensor(w)})
    found = run(minidl, ours, nn.Tanh(), Tensor(x, requires_grad=True))
    wanted = run(torch, theirs, torch.nn.Tanh(), torch.tensor(x, requires_grad=True))
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy(), rtol=1e-12)
