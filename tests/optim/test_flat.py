"""The flat arrays under an optimizer: what lies in them, and who still sees it."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from optimtable import SETTINGS, Setting
from trajectories import agree, ours, run

import minidl
from minidl import nn, optim
from minidl.nn import Parameter


def memory(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().numpy()
    return array


def base(array: np.ndarray) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def model() -> nn.Sequential:
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng))


def loss(net: nn.Module) -> Any:
    return (net(np.ones((5, 3), np.float32)) ** 2).sum()


def test_parameters_become_views_of_one_array_and_keep_their_values() -> None:
    net = model()
    before = [memory(p).copy() for p in net.parameters()]
    optim.SGD(net.parameters())
    assert len({id(base(memory(p))) for p in net.parameters()}) == 1
    for parameter, values in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.detach(), values)
        assert type(parameter) is Parameter
        assert parameter.requires_grad


def test_each_dtype_and_group_has_an_array() -> None:
    a, b, c = (Parameter(np.ones(2, dtype)) for dtype in ("f4", "f8", "f4"))
    optim.Adam([{"params": [a, b, c]}])
    assert base(memory(a)) is base(memory(c))
    assert base(memory(a)) is not base(memory(b))


def test_gradients_land_in_one_array() -> None:
    net = model()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    loss(net).backward()
    first = [memory(p.grad) for p in net.parameters()]
    assert len({id(base(array)) for array in first}) == 1
    values = [array.copy() for array in first]
    tensors = [p.grad for p in net.parameters()]
    loss(net).backward()  # accumulates in place
    for parameter, tensor, array, once in zip(
        net.parameters(), tensors, first, values, strict=True
    ):
        assert parameter.grad is tensor
        assert memory(parameter.grad) is array
        np.testing.assert_allclose(array, 2 * once, rtol=1e-6)
    optimizer.step()
    optimizer.zero_grad()
    loss(net).backward()
    assert all(memory(p.grad) is array for p, array in zip(net.parameters(), first, strict=True))


def test_gradients_that_were_there_before_are_kept() -> None:
    net, other = model(), model()
    loss(net).backward()
    loss(other).backward()
    optim.SGD(net.parameters())
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
    assert len({id(base(memory(p.grad))) for p in net.parameters()}) == 1


def test_gradients_set_by_hand_are_used() -> None:
    parameter = Parameter(np.zeros(3))
    optimizer = optim.SGD([parameter], lr=1.0)
    given = np.array([1.0, 2.0, 3.0])
    parameter.grad = given
    optimizer.step()
    assert parameter.tolist() == [-1.0, -2.0, -3.0]
    assert given.tolist() == [1.0, 2.0, 3.0]


def test_gradient_of_a_recorded_backward_is_used() -> None:
    parameter = Parameter(np.array([3.0]))
    optimizer = optim.SGD([parameter], lr=0.1)
    (parameter**2).sum().backward(create_graph=True)
    optimizer.step()
    np.testing.assert_allclose(parameter.detach(), [3.0 - 0.6])


def test_load_state_dict_keeps_the_views() -> None:
    net, source = model(), model()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    arrays = [memory(p) for p in net.parameters()]
    with minidl.no_grad():
        source.load_state_dict({k: memory(v) + 1 for k, v in source.state_dict().items()})
    net.load_state_dict(source.state_dict())
    for p, q, array in zip(net.parameters(), source.parameters(), arrays, strict=True):
        assert memory(p) is array
        np.testing.assert_array_equal(p.detach(), q.detach())
    before = memory(net[0].weight).copy()
    loss(net).backward()
    optimizer.step()
    np.testing.assert_allclose(
        memory(net[0].weight), before - 0.1 * memory(net[0].weight.grad), rtol=1e-6
    )
    assert all(memory(p) is array for p, array in zip(net.parameters(), arrays, strict=True))


def test_zero_grad() -> None:
    net = model()
    optimizer = optim.SGD(net.parameters())
    net[2].requires_grad_(False)
    loss(net).backward()
    optimizer.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    fresh = model()
    loss(fresh).backward()
    loss(net).backward()  # nothing of the first is left
    np.testing.assert_array_equal(net[0].weight.grad, fresh[0].weight.grad)


def test_walking_a_graph_from_before_a_step_raises() -> None:
    net = model()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    out = loss(net)
    out.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"shape \(2, 4\) was overwritten.*optimizer step"):
        out.backward()
    optimizer.zero_grad()
    loss(net).backward()
    optimizer.step()


def test_a_view_of_a_parameter_is_stale_too() -> None:
    # The product keeps the transposed view, not the parameter: its memory is the parameter's.
    w, x = Parameter(np.ones((2, 3))), minidl.Tensor(np.ones((3, 2)), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    out = (x * w.T).sum()
    out.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="overwritten"):
        out.backward()


def test_a_parameter_without_gradient_is_not_made_stale() -> None:
    used, unused = Parameter(np.ones(2)), Parameter(np.ones(2))
    optimizer = optim.SGD([used, unused], lr=0.1)
    x = minidl.Tensor(np.ones(2), requires_grad=True)
    out = (x * unused).sum()
    used.grad = np.ones(2)
    optimizer.step()
    out.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_model_converted_too_late_is_refused() -> None:
    net = model()
    optimizer = optim.SGD(net.parameters())
    net.double()
    for parameter in net.parameters():
        parameter.grad = np.ones(parameter.shape)
    with pytest.raises(TypeError, match=r"\(4, 3\) became float64.*holds float32; convert.*before"):
        optimizer.step()


def test_layouts_in_memory_do_not_matter() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    parameter = Parameter(array)
    optimizer = optim.SGD([parameter], lr=1.0)
    parameter.grad = np.arange(6.0).reshape(2, 3).T.copy().T
    optimizer.step()
    np.testing.assert_array_equal(parameter.detach(), np.zeros((2, 3)))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_go_on_by_themselves(setting: Setting, how: str) -> None:
    a = ours()
    optimizer = setting.build(optim, a)
    run(optimizer, a, range(10))
    if how == "deepcopy":
        b, other = copy.deepcopy((a, optimizer))
    else:
        b, other = pickle.loads(pickle.dumps((a, optimizer)))
    agree(run(other, b, range(10, 20)), run(optimizer, a, range(10, 20)), tolerance=0)


def test_models_copied_from_under_an_optimizer_are_their_own() -> None:
    net = model()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    twin = copy.deepcopy(net)
    before = memory(twin[0].weight).copy()
    loss(net).backward()
    optimizer.step()
    np.testing.assert_array_equal(twin[0].weight.detach(), before)
    assert not np.shares_memory(memory(twin[0].weight), memory(twin[0].bias))


def test_an_optimizer_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        net = model()
        optimizer = optim.Adam(net.parameters())
        loss(net).backward()
        optimizer.step()
        gone = weakref.ref(optimizer)
        del optimizer
        assert gone() is None
    finally:
        gc.enable()
