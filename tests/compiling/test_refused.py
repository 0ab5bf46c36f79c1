"""What cannot be replayed: it runs eagerly, with the right result, and says so once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.autograd import backward
from minidl.compiling import CompileError, CompileWarning
from minidl.compiling.compiled import MOST_KINDS
from minidl.profiling import profile


class Counting(nn.Module):
    """Counts its calls, and changes with the count."""

    def __init__(self) -> None:
        self.count = 0

    def forward(self, x: Any) -> Any:
        self.count += 1
        return x * self.count


class Remembering(nn.Module):
    """Keeps a state of its own from call to call."""

    def __init__(self) -> None:
        self.state = minidl.zeros(3)

    def forward(self, x: Any) -> Any:
        self.state = self.state * 0.5 + x
        return self.state


def drawing() -> Callable[[Any], Any]:
    rng = np.random.default_rng(0)
    return lambda x: x * rng.standard_normal(3)


def counting_outside() -> Callable[[Any], Any]:
    count = 0

    def step(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * count

    return step


def hooked() -> Callable[[Any], Any]:
    layer = nn.Tanh()
    layer.register_forward_hook(lambda module, args, out: out * 2.0)
    return layer


def hooked_gradient() -> Callable[[Any], Any]:
    weight = nn.Parameter(np.ones(3, np.float32))

    def step(x: Any) -> Any:
        weight.grad = None
        product = weight * x
        product.register_hook(lambda g: g * 2.0)
        product.sum().backward()
        return weight.grad

    return step


def with_closure() -> Callable[[Any], Any]:
    weight = nn.Parameter(np.ones(3, np.float32))
    optimizer = optim.LBFGS([weight])

    def step(x: Any) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((weight - x) ** 2).sum()
            loss.backward()
            return loss

        return optimizer.step(closure)

    return step


def wants_a_derivative() -> Callable[[Any], Any]:
    weight = nn.Parameter(np.ones(3, np.float32))
    return lambda x: weight * x


def second_derivative() -> Callable[[Any], Any]:
    weight = nn.Parameter(np.ones(3, np.float32))

    def step(x: Any) -> Any:
        weight.grad = None
        (weight**3 * x).sum().backward(create_graph=True)
        return weight.grad.detach()

    return step


@minidl.custom_jvp
def doubled(x: Any) -> Any:
    return x * 2.0


doubled.defjvp(lambda primals, tangents: (primals[0] * 2.0, tangents[0] * 2.0))

kept: list[Any] = []

#: Why it cannot be replayed -> a function that makes the step.
REFUSED: dict[str, Callable[[], Callable[[Any], Any]]] = {
    r"item\(\)": lambda: lambda x: x * x.sum().item(),
    r"numpy\(\)": lambda: lambda x: x * x.numpy().max(),
    r"tolist\(\)": lambda: lambda x: x * x.tolist()[0],
    r"item\(\), at": lambda: lambda x: x * float(x.sum()),
    "its repr": lambda: lambda x: x * len(repr(x)),
    "shape that depends on values": lambda: lambda x: x[x > 0].sum() + x,
    "nonzero": lambda: lambda x: x * float(minidl.nonzero(x).shape[0]),
    "is another at each call": drawing,
    "'count'": lambda: counting_outside(),
    "Counting.count": lambda: Counting(),
    "Remembering.state": lambda: Remembering(),
    "kept outside of it": lambda: lambda x: (kept.append(x * 2.0), x * 3.0)[1],
    "a hook of Tanh": hooked,
    "a hook on a gradient": hooked_gradient,
    "closure": with_closure,
    "still wants a derivative": wants_a_derivative,
    "create_graph": second_derivative,
    "derivative of its own": lambda: lambda x: doubled(x),
    "minidl.checkpoint": lambda: lambda x: minidl.checkpoint(minidl.tanh, x),
}


def repeat(step: Callable[[Any], Any], times: int = 4) -> list[Any]:
    return [step(minidl.tensor([1.0, 2.0, 3.0])) for _ in range(times)]


@pytest.mark.parametrize("reason", REFUSED, ids=list(REFUSED))
def test_runs_eagerly_and_warns_once(reason: str) -> None:
    eager, compiled = REFUSED[reason](), minidl.compile(REFUSED[reason]())
    with pytest.warns(CompileWarning, match=reason) as caught:
        found = repeat(compiled)
    for one, two in zip(repeat(eager), found, strict=True):
        assert type(one) is type(two)
        np.testing.assert_array_equal(*(np.asarray(v.detach()) for v in (one, two)))
    assert len(caught) == 1
    if ", at " in str(caught[0].message):
        assert __file__ in str(caught[0].message)
    assert not compiled.programs
    assert "runs eagerly" in compiled.explain()


@pytest.mark.parametrize("reason", REFUSED, ids=list(REFUSED))
def test_strict_raises(reason: str) -> None:
    compiled = minidl.compile(REFUSED[reason](), strict=True)
    with pytest.raises(CompileError, match=reason):
        repeat(compiled)


def test_a_module_that_keeps_its_state_goes_on_with_it() -> None:
    eager, compiled = Remembering(), Remembering()
    step = minidl.compile(compiled)
    repeat(eager)
    with pytest.warns(CompileWarning):
        repeat(step)
    assert type(compiled.state.value) is np.ndarray
    np.testing.assert_array_equal(eager.state.numpy(), compiled.state.numpy())


def test_a_branch_on_a_random_number_is_refused() -> None:
    def step(x: Any) -> Any:
        y = nn.functional.dropout(x, 0.5)
        return y * 2.0 if y.sum() > 5 else y

    compiled = minidl.compile(step, strict=True)
    with pytest.raises(CompileError, match="a random number"):
        repeat(compiled, 10)


def test_a_profile_and_anomaly_mode_see_the_operations() -> None:
    compiled = minidl.compile(lambda x: minidl.log(x) * 2.0, strict=True)
    for _ in range(4):
        compiled(minidl.ones(3))
    with profile() as found:
        compiled(minidl.ones(3))
    assert "log" in str(found.by_operation())
    assert backward.watch is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isneginf(compiled(minidl.zeros(3)).numpy()).all()
    with pytest.raises(FloatingPointError, match="log made"), minidl.detect_anomaly():
        compiled(minidl.zeros(3))


def test_one_recording_within_another_is_one() -> None:
    inner = minidl.compile(lambda x: x * 2.0, strict=True)
    outer = minidl.compile(lambda x: inner(x) + 1.0, strict=True)
    for _ in range(4):
        assert outer(minidl.ones(2)).tolist() == [3.0, 3.0]
    assert len(outer.programs) == 1
    assert not inner.programs


def test_arguments_of_too_many_kinds() -> None:
    compiled = minidl.compile(lambda x: x * 2.0)
    sizes = range(1, MOST_KINDS + 4)
    with pytest.warns(CompileWarning, match=f"more than {MOST_KINDS} shapes") as caught:
        found = [compiled(minidl.ones(size)) for size in sizes for _ in range(3)]
    assert all(out.tolist() == [2.0] * len(out) for out in found)
    assert len(compiled.programs) == MOST_KINDS
    assert len(caught) == 1
