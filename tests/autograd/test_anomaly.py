"""detect_anomaly names the operation and the user's line, in every mode."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor

BAD = np.array([1.0, 0.0])


def raises(text: str, run: Any, line: int) -> None:
    with pytest.raises(FloatingPointError, match=text) as caught, minidl.detect_anomaly():
        run()
    assert f"{__file__}:{line}" in str(caught.value), str(caught.value)


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def logs(x: Any) -> Any:
    return minidl.log(x).sum()


def roots(x: Any) -> Any:
    return minidl.sqrt(x).sum()


LOG, ROOT = (function.__code__.co_firstlineno + 1 for function in (logs, roots))
VALUE = r"log made -inf at element .* of its value"
GRADIENT = r"sqrt made inf at element \(1,\) of its gradient"


@pytest.mark.parametrize(
    ("text", "run", "line"),
    [
        (VALUE, lambda: logs(BAD), LOG),
        (VALUE, lambda: logs(Tensor(BAD)), LOG),
        (VALUE, lambda: logs(Tensor(BAD, requires_grad=True)), LOG),
        (VALUE, lambda: minidl.grad(logs)(BAD), LOG),
        (VALUE, lambda: minidl.jvp(logs, (BAD,), (BAD,)), LOG),
        (VALUE, lambda: minidl.vmap(logs)(BAD[:, None]), LOG),
        (GRADIENT, lambda: roots(Tensor(BAD, requires_grad=True)).backward(), ROOT),
        (GRADIENT, lambda: minidl.grad(roots)(BAD), ROOT),
        ("sqrt made nan .* of its tangent", lambda: minidl.hessian(roots)(BAD), ROOT),
        (
            r"sqrt made inf at element .* of its tangent",
            lambda: minidl.jvp(roots, (BAD,), (np.ones(2),)),
            ROOT,
        ),
        (
            r"sqrt made inf at element .* of its gradient",
            lambda: minidl.vmap(minidl.grad(roots))(BAD[:, None]),
            ROOT,
        ),
    ],
)
def test_every_mode(text: str, run: Any, line: int) -> None:
    raises(text, run, line)


def test_the_first_is_named_and_not_what_it_spreads_to() -> None:
    def f(x: Any) -> Any:
        y = minidl.log(x)
        return (y * 2.0 + 1.0).sum()

    raises("log made", lambda: f(BAD), f.__code__.co_firstlineno + 1)


def test_infinities_that_are_passed_in_are_no_anomaly() -> None:
    with minidl.detect_anomaly():
        out = minidl.softmax(minidl.where(BAD > 0.5, BAD, -np.inf), 0)
    np.testing.assert_array_equal(out, [1.0, 0.0])


def test_a_graph_made_outside_is_named_without_its_line() -> None:
    y = roots(Tensor(BAD, requires_grad=True))
    match = r"sqrt .* ran outside detect_anomaly"
    with pytest.raises(FloatingPointError, match=match), minidl.detect_anomaly():
        y.backward()


def test_it_ends_with_its_block_and_stays_in_its_thread() -> None:
    with pytest.raises(ZeroDivisionError), minidl.detect_anomaly():
        raise ZeroDivisionError
    with np.errstate(all="ignore"):
        assert logs(BAD) == -np.inf

        def elsewhere() -> Any:
            with np.errstate(all="ignore"):
                return logs(BAD)

        with ThreadPoolExecutor(1) as pool, minidl.detect_anomaly():
            assert pool.submit(elsewhere).result() == -np.inf


def test_as_a_decorator() -> None:
    with pytest.raises(FloatingPointError, match="log made"):
        minidl.detect_anomaly()(logs)(BAD)
