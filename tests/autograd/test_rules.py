"""What every rule promises by its signature, and what the engine does around every rule."""

from __future__ import annotations

import dis
import importlib
import inspect
import pkgutil
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, tensor
from minidl.autograd.primitive import EveryArgument, Primitive, linear, primitive


def records() -> list[Primitive]:
    found: dict[int, Primitive] = {}
    for module in pkgutil.walk_packages(minidl.__path__, "minidl."):
        if module.name.split(".")[1] in ("autograd", "ops", "nn", "tensor"):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, Primitive):
                    found[id(value)] = value
    return list(found.values())


def rules() -> list[Any]:
    found = []
    for record in records():
        given = record.vjp
        each = [given.rule] if isinstance(given, EveryArgument) else list(given or ())
        for i, rule in enumerate(each):
            if rule is not None:
                found.append(pytest.param(rule, id=f"{record.name}-{i}"))
    return found


def names_read(rule: Any) -> set[str]:
    """Parameters that the rule's code, or a function inside it, loads."""
    read = set(rule.__code__.co_cellvars)
    for instruction in dis.get_instructions(rule):
        if instruction.opname.startswith("LOAD_FAST"):
            value = instruction.argval
            read.update(value if isinstance(value, tuple) else (value,))
    return read


@pytest.mark.parametrize("rule", rules())
def test_an_underscore_marks_exactly_what_a_rule_does_not_read(rule: Any) -> None:
    """The engine drops what a rule does not read, and knows it by the name alone."""
    read = names_read(rule)
    parameters = list(inspect.signature(rule).parameters.values())[1:]  # g is always given
    for parameter in parameters:
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            continue  # parameters cost nothing to keep
        if parameter.name.startswith("_"):
            assert parameter.name not in read, f"reads {parameter.name}, which the engine drops"
        else:
            assert parameter.name in read, f"keeps {parameter.name} alive and does not read it"


@pytest.mark.parametrize("record", records(), ids=repr)
def test_a_record_has_both_modes_or_none(record: Primitive) -> None:
    assert (record.vjp is None) == (record.jvp is None)
    if isinstance(record.vjp, tuple) and isinstance(record.jvp, tuple):
        assert len(record.vjp) == len(record.jvp)
        for backward, forward in zip(record.vjp, record.jvp, strict=True):
            assert (backward is None) == (forward is None)


def test_the_linear_marker_is_never_called() -> None:
    with pytest.raises(AssertionError, match="the operation itself"):
        linear(1.0)


def test_a_wrong_vjp_rule_is_named() -> None:
    wrong = primitive("wrong", np.negative, vjp=(lambda g, _out, _x: np.ones(7),))
    with pytest.raises(
        RuntimeError, match=r"wrong: a vjp rule returned shape \(7,\) .* shape \(2,\)"
    ):
        wrong(tensor([1.0, 2.0], requires_grad=True)).sum().backward()


def test_a_wrong_jvp_rule_is_named() -> None:
    wrong = primitive("wrong", np.negative, jvp=(lambda t, out, x: np.ones(7),))
    with pytest.raises(
        RuntimeError, match=r"wrong: a jvp rule returned shape \(7,\) .* shape \(2,\)"
    ):
        minidl.jvp(wrong, (np.ones(2),), (np.ones(2),))


def test_the_engine_sums_casts_and_keeps_zero_d_arrays() -> None:
    """A rule may return any dtype and the broadcast shape: the engine sees to the rest."""
    careless = primitive(
        "careless",
        np.multiply,
        vjp=(lambda g, _out, _x, y: np.float64(2.0) * g * y, lambda g, _out, x, _y: (g * x).sum()),
        jvp=(lambda t, out, x, y: np.float64(1.0) * t * y, lambda t, out, x, y: x * t),
    )
    x, y = np.ones((2, 3), np.float32), np.ones((), np.float32)
    out, pull = minidl.vjp(careless, x, y)
    gx, gy = pull(np.ones_like(out))
    assert (gx.dtype, gx.shape) == (np.float32, (2, 3))
    assert type(gy) is np.ndarray
    assert (gy.dtype, gy.shape) == (np.float32, ())
    tangent = minidl.jvp(careless, (y, y), (y, y))[1]
    assert type(tangent) is np.ndarray
    assert tangent.dtype == np.float32


def test_a_derivative_nobody_needs_is_not_computed() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("computed")

    half = primitive("half", np.multiply, vjp=(lambda g, _out, _x, y: g * y, never))
    x = tensor([1.0], requires_grad=True)
    half(x, Tensor([2.0])).sum().backward()
    assert float(x.grad) == 2.0


def test_an_operation_without_rules_is_a_constant() -> None:
    floor = primitive("floor", np.floor)
    x = tensor([1.5], requires_grad=True)
    assert not floor(x).requires_grad
    np.testing.assert_array_equal(
        minidl.grad(lambda v: (v * floor(v)).sum())(np.array([1.5])), [1.0]
    )


def test_gradcheck_finds_wrong_rules() -> None:
    lies = primitive(
        "lies",
        np.square,
        vjp=(lambda g, _out, x: g * x,),
        jvp=(lambda t, out, x: t * x * 2.0,),
    )
    with pytest.raises(AssertionError, match=r"reverse mode disagrees .* input 0, element \(1,\)"):
        minidl.gradcheck(lies, [np.array([0.0, 2.0])])
    assert minidl.gradcheck(lies, [np.array([0.0, 2.0])], modes=["forward"])
    with pytest.raises(ValueError, match="'reverse' or 'forward', got 'backward'"):
        minidl.gradcheck(lies, [np.ones(2)], modes=["backward"])


def test_gradgradcheck_finds_rules_that_forget_the_second_order() -> None:
    once = primitive(
        "once",
        np.exp,
        vjp=(lambda g, out, _x: g * np.asarray(_value(out)),),
        jvp=(lambda t, out, x: t * np.asarray(_value(out)),),
    )
    assert minidl.gradcheck(once, [np.ones(2)])
    with pytest.raises(AssertionError, match="reverse mode disagrees"):
        minidl.gradgradcheck(once, [np.ones(2)])


def _value(box: Any) -> Any:
    while isinstance(box, Tensor):
        box = box.value
    return box


def test_gradcheck_counts_nan_as_wrong() -> None:
    nan = primitive(
        "nan", np.negative, vjp=(lambda g, _out, _x: g * np.nan,), jvp=(lambda t, out, x: -t,)
    )
    with pytest.raises(AssertionError, match=r"derivative .*nan"):
        minidl.gradcheck(nan, [np.ones(2)])
