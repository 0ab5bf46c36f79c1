"""Devices by name: moving Tensors and modules, and what is said where a device is not there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stand_in import NAME, DeviceArray, stand_in

import minidl
from minidl import Tensor, nn, optim
from minidl.autograd import arrays


@pytest.fixture
def on_device() -> Iterator[Any]:
    with stand_in() as put:
        yield put


def test_a_tensor_says_where_it_is(on_device: Any) -> None:
    x = minidl.tensor([1.0, 2.0])
    there = x.to(NAME)
    assert (x.device, there.device, there.cpu().device) == ("cpu", NAME, "cpu")
    assert type(there.value) is DeviceArray
    assert x.to("cpu") is x
    assert there.to(device=NAME) is there
    both = x.to(device=NAME, dtype=np.float64)
    assert (both.device, both.dtype) == (NAME, np.float64)
    assert minidl.zeros_like(there).device == minidl.ones_like(there).device == NAME


def test_what_is_read_of_it_comes_to_the_host(on_device: Any) -> None:
    x = minidl.tensor([[1.0, 2.0]]).to(NAME)
    assert type(x.numpy()) is np.ndarray
    assert x.tolist() == [[1.0, 2.0]]
    assert repr(x) == "tensor([[1., 2.]])"
    assert float(x.sum()) == x.sum().item() == 3.0
    x.numpy()[0, 0] = 9.0  # a copy
    assert x[0, 0].item() == 1.0


def test_moving_is_differentiable(on_device: Any) -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    y = x.to(NAME) * 3.0
    (y.cpu() * minidl.tensor([1.0, 10.0])).sum().backward()
    assert type(x.grad.value) is np.ndarray
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 30.0])
    tangent = minidl.jvp(lambda v: minidl.Tensor.to(v, NAME), (x.detach(),), (x.detach(),))[1]
    assert tangent.device == NAME


def test_host_arrays_are_moved_to_where_the_others_are(on_device: Any) -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    there = x.detach().to(NAME)
    out = there * x
    assert out.device == NAME
    out.sum().backward()
    assert type(x.grad.value) is np.ndarray or x.grad.device == NAME
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 2.0])


def test_a_module_moves_with_all_it_holds(on_device: Any) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    module(minidl.ones(4, 3)).sum().backward()
    assert module.to(NAME) is module
    held = [*module.parameters(), *module.buffers()]
    assert {t.device for t in held} == {NAME}
    assert {p.grad.device for p in module.parameters()} == {NAME}
    state = {name: t.numpy() for name, t in module.state_dict().items()}
    fresh = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(NAME)
    fresh.load_state_dict(state)
    assert {t.device for t in fresh.state_dict().values()} == {NAME}
    x = minidl.ones(4, 3).to(NAME)
    np.testing.assert_array_equal(*(m.eval()(x).detach().numpy() for m in (fresh, module)))
    assert {t.device for t in module.cpu().parameters()} == {"cpu"}
    assert next(module.to(dtype=np.float64, device=NAME).parameters()).dtype == np.float64


def test_a_model_is_moved_before_its_optimizer_is_made(on_device: Any) -> None:
    module = nn.Linear(3, 2)
    optimizer = optim.SGD(module.parameters(), lr=0.1)
    module.to(NAME)
    module(minidl.ones(1, 3)).sum().backward()
    with pytest.raises(TypeError, match=f"moved to {NAME} after the optimizer was made.*cpu"):
        optimizer.step()


def test_names_that_are_no_device() -> None:
    with pytest.raises(ValueError, match=r"one of cpu, cuda is wanted.*got 'gpu'"):
        arrays.opened("gpu")
    assert not any(
        map(arrays.is_device, ["cpu:0", "cuda:", "cuda:-1", "float32", np.float32, None])
    )
    with pytest.raises(TypeError):  # as any other name that is no dtype
        minidl.ones(2).to("gpu")


# ---- CUDA, where it is not ---------------------------------------------------------------------


def _cupy(count: Any) -> ModuleType:
    """A package that says of its GPUs what CuPy says; all that is asked of it before an array."""
    module = ModuleType("cupy")
    module.ndarray = DeviceArray  # type: ignore[attr-defined]
    module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        runtime=SimpleNamespace(getDeviceCount=count)
    )
    return module


def _no_driver() -> int:
    raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")


@pytest.mark.parametrize(
    ("cupy", "name", "message"),
    [
        (None, "cuda", r"wants CuPy, which is not here: pip install 'minidl\[cuda\]'"),
        (_cupy(_no_driver), "cuda", "CuPy finds no GPU here: cudaErrorInsufficientDriver"),
        (_cupy(lambda: 0), "cuda", r"cuda:0, but CuPy finds 0 GPU\(s\)"),
        (_cupy(lambda: 1), "cuda:1", r"cuda:1, but CuPy finds 1 GPU\(s\), counted from 0"),
    ],
)
def test_cuda_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, cupy: ModuleType | None, name: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    before = dict(arrays.others)
    with pytest.raises(RuntimeError, match=message):
        minidl.ones(2).to(name)
    with pytest.raises(RuntimeError, match=message):
        nn.Linear(2, 2).to(name)
    assert arrays.others == before
    assert isinstance(Tensor([1.0]).value, np.ndarray)
