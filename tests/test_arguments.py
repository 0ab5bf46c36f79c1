"""Bounds in annotations are held at every call."""

from __future__ import annotations

import pytest

from minidl.arguments import (
    Bound,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Probability,
    Size,
    check,
    checked,
)


class Layer:
    @checked
    def __init__(
        self,
        size: Size,
        window: Size | tuple[Size, Size] = 1,
        *,
        p: Probability = 0.0,
        rate: Positive | None = None,
        name: str = "",
    ) -> None:
        self.size, self.window, self.p, self.rate, self.name = size, window, p, rate, name


@pytest.mark.parametrize(
    ("hint", "inside", "outside"),
    [
        (Size, [1, 10**9], [0, -1]),
        (Count, [0, 1], [-1]),
        (Positive, [1e-300, 1, float("inf")], [0, 0.0, -1.0, float("nan")]),
        (NonNegative, [0, 0.0, 3], [-1e-9, float("nan")]),
        (Probability, [0, 0.999], [1, 1.0, -0.1]),
        (Fraction, [0, 1, 0.5], [1.0001, -0.1]),
    ],
)
def test_limits(hint: object, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        check("x", value, hint)
    for value in outside:
        with pytest.raises(ValueError, match=r"^x must be .*, got"):
            check("x", value, hint)


def test_a_call_within_bounds_is_the_function_s_own() -> None:
    layer = Layer(3, (1, 2), p=0.5, rate=None, name="a")
    assert (layer.size, layer.window, layer.p, layer.rate, layer.name) == (
        3,
        (1, 2),
        0.5,
        None,
        "a",
    )
    assert Layer.__init__.__name__ == "__init__"


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((0,), {}, "size must be at least 1, got 0"),
        ((1, 0), {}, "window must be at least 1, got 0"),
        ((1, (2, -3)), {}, "window must be at least 1, got -3"),
        ((1, [2, 0]), {}, "window must be at least 1, got 0"),
        ((1,), {"p": 1.0}, "p must be at least 0 and below 1, got 1.0"),
        ((1,), {"rate": 0.0}, "rate must be above 0, got 0.0"),
    ],
)
def test_a_call_outside_names_argument_limit_and_value(
    args: tuple[object, ...], kwargs: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Layer(*args, **kwargs)  # type: ignore[arg-type]


def test_a_missing_argument_stays_a_type_error() -> None:
    with pytest.raises(TypeError, match="size"):
        Layer()  # type: ignore[call-arg]


def test_bounds_read_as_words() -> None:
    assert str(Bound(ge=0, lt=1)) == "at least 0 and below 1"
    assert str(Bound(gt=0)) == "above 0"
