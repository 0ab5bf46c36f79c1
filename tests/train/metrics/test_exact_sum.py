"""Sums are exact, whatever the order and the parts in which values come."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.train.metrics.exact_sum import ExactSum

finite = st.floats(-1e300, 1e300, allow_subnormal=True)


@given(parts=st.lists(st.lists(finite, max_size=8), max_size=6))
def test_it_is_the_exact_sum_rounded_once(parts: list[list[float]]) -> None:
    total = ExactSum()
    for part in parts:
        total.add(np.array(part))
    expected = sum((Fraction(value) for part in parts for value in part), Fraction(0))
    assert total.value == float(expected)

    shares = [ExactSum() for _ in range(3)]
    for number, part in enumerate(parts):
        shares[number % 3].add(np.array(part))
    for share in shares[1:]:
        shares[0].merge(share)
    assert shares[0].value == total.value


def test_what_naive_sums_lose_is_kept() -> None:
    total = ExactSum()
    for value in (1e16, 1.0, 1.0, -1e16):
        total.add(np.array(value))
    assert total.value == 2.0


def test_what_is_not_finite_goes_through() -> None:
    for values, expected in (
        ([1.0, math.inf], math.inf),
        ([-math.inf, 1.0], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
        ([1.7e308, 1.7e308], math.inf),
    ):
        total = ExactSum()
        total.add(np.array(values))
        total.add(np.array([2.0]))
        np.testing.assert_equal(total.value, expected)
        first, second = ExactSum(), ExactSum()
        first.add(np.array(values[0]))
        second.add(np.array(values[1]))
        first.merge(second)
        np.testing.assert_equal(first.value, expected)


def test_nothing_is_zero() -> None:
    total = ExactSum()
    total.add(np.zeros((0, 3)))
    assert total.value == 0.0
