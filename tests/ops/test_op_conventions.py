"""What is settled once about kinks, ties and masks (DESIGN, section 4), and bugs once found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, ops
from minidl.nn import functional


def gradient(function: Any, *values: Any) -> Any:
    out, pull = minidl.vjp(function, *(np.array(v, dtype=float) for v in values))
    found = pull(np.ones(out.shape))
    return found[0] if len(values) == 1 else found


def test_slopes_at_kinks() -> None:
    assert gradient(ops.relu, 0.0) == 0.0
    assert gradient(ops.abs, 0.0) == 0.0
    assert gradient(ops.sign, 0.0) == 0.0
    np.testing.assert_array_equal(gradient(ops.maximum, [1.0], [1.0]), [[0.5], [0.5]])
    np.testing.assert_array_equal(gradient(ops.minimum, [1.0], [1.0]), [[0.5], [0.5]])


def test_ties_share_in_amax_and_go_to_the_first_in_max() -> None:
    x = [[2.0, 2.0, 1.0]]
    np.testing.assert_array_equal(gradient(lambda v: ops.amax(v, 1), x), [[0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(gradient(lambda v: ops.max(v), x), [[0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(gradient(lambda v: ops.max(v, 1).values, x), [[1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(gradient(lambda v: ops.min(v, 0)[0], x), [[1.0, 1.0, 1.0]])
    image = np.full((1, 1, 2, 2), 3.0)
    np.testing.assert_array_equal(
        gradient(lambda v: functional.max_pool2d(v, 2), image), [[[[1.0, 0.0], [0.0, 0.0]]]]
    )


def test_a_masked_branch_makes_no_nan() -> None:
    slope = gradient(
        lambda x: ops.where(x > 0, ops.sqrt(ops.where(x > 0, x, 1.0)), 0.0), [0.0, 4.0]
    )
    np.testing.assert_array_equal(slope, [0.0, 0.25])
    masked = np.array([1.0, -np.inf, -np.inf])
    for function in (
        lambda x: ops.logsumexp(x, 0),
        lambda x: ops.softmax(x, 0)[0],
        lambda x: ops.log_softmax(x, 0)[0],
    ):
        assert np.isfinite(gradient(function, masked)).all()
    np.testing.assert_array_equal(
        gradient(lambda x: ops.logsumexp(x, 0), [-np.inf, -np.inf]), [0, 0]
    )


def test_powers_of_zero() -> None:
    np.testing.assert_array_equal(gradient(lambda x: x**0, [0.0, 2.0]), [0.0, 0.0])
    np.testing.assert_array_equal(gradient(lambda x: x**2, [0.0]), [0.0])
    base, exponent = gradient(ops.pow, [0.0, 0.0, 2.0], [0.0, 2.0, 0.0])
    np.testing.assert_array_equal(base, [0.0, 0.0, 0.0])
    np.testing.assert_allclose(exponent, [0.0, 0.0, np.log(2.0)])


def test_std_of_equal_elements_has_slope_zero() -> None:
    np.testing.assert_array_equal(gradient(lambda x: ops.std(x), [2.0, 2.0, 2.0]), [0.0, 0.0, 0.0])


def test_a_place_written_twice_gives_its_gradient_to_the_last_writer() -> None:
    x = np.zeros(3)
    found = gradient(lambda v: ops.setitem(x, [1, 1, 2], v), [5.0, 6.0, 7.0])
    np.testing.assert_array_equal(found, [0.0, 1.0, 1.0])


def test_a_place_read_twice_collects_both() -> None:
    np.testing.assert_array_equal(
        gradient(lambda x: x[[0, 0, 1]], [1.0, 2.0, 3.0]), [2.0, 1.0, 0.0]
    )


def test_integers_are_exact_or_refused() -> None:
    np.testing.assert_allclose(ops.erf(np.array([0, 1])), [0.0, 0.8427007929497148])
    with pytest.raises(TypeError, match="setitem: float64 into an array of int64"):
        ops.setitem(Tensor([1, 2]), 0, Tensor(np.array(1.5), requires_grad=True))


def test_max_of_a_single_number_along_its_only_axis() -> None:
    for select in (ops.max, ops.min):
        assert tuple(map(float, select(np.array(3.0), 0))) == (3.0, 0.0)
    assert int(ops.argmax(np.array(3.0), 0)) == 0


def test_float32_stays_float32_with_python_numbers() -> None:
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    for y in (
        x * 2.0, 2 * x, x / 3, 3.0 - x, x**0.5, 2.0**x, x.mean(), x.var(), x.std(), x.max(),
        ops.where(x > 0, x, 0.0), ops.where(x > 0, 1.0, x), ops.maximum(x, 0.0), ops.minimum(1, x),
        ops.sigmoid(x), functional.dropout(x, 0.5), ops.softmax(x, 0), ops.setitem(x, 0, 2.5),
    ):  # fmt: skip
        assert y.dtype == np.float32
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == np.float32


def test_promotion_of_two_precisions_is_numpy_s_and_gradients_keep_their_own() -> None:
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = Tensor(np.ones(3), requires_grad=True)
    (x * y).sum().backward()
    assert (x * y).dtype == np.float64
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(y.grad.numpy(), [2.0, 2.0, 2.0])


def test_dropout_keeps_the_mean_and_draws_from_the_generator() -> None:
    x = np.ones((100, 100))
    one = functional.dropout(x, 0.3, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(one, functional.dropout(x, 0.3, rng=np.random.default_rng(1)))
    assert abs(one.mean() - 1.0) < 0.02
    assert not np.array_equal(one, functional.dropout(x, 0.3))
    assert functional.dropout(x, 0.3, training=False) is x


def test_images_may_lie_channels_last_and_stay_so() -> None:
    x = np.moveaxis(np.random.default_rng(0).standard_normal((2, 6, 6, 3)), -1, 1)
    for out in (
        functional.conv2d(x, np.ones((4, 3, 3, 3))),
        functional.max_pool2d(x, 2),
        functional.avg_pool2d(x, 2, padding=1),
        ops.relu(x),
        x + np.zeros((3, 1, 1)),
    ):
        assert out.transpose(0, 2, 3, 1).flags.c_contiguous


def test_a_convolution_in_several_blocks_is_one_in_a_single_block() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((9, 3, 8, 8)), rng.standard_normal((4, 3, 3, 3))
    kernel = pytest.importorskip("minidl.kernels.conv")

    def results() -> list[Any]:
        out, pull = minidl.vjp(lambda a, b: functional.conv2d(a, b, padding=1), x, w)
        return [out, *pull(np.cos(np.arange(out.size)).reshape(out.shape))]

    whole = results()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "BLOCK_BYTES", 40_000)  # two images a block, and one left over
        for one, two in zip(whole, results(), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)
