"""NumPy's functions on Tensors: derivatives where minidl has them, TypeError where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, grad, tensor
from minidl.numpy_protocols import FUNCTIONS, UFUNCS


def leaf(*shape: int) -> Tensor:
    values = np.random.default_rng(0).uniform(0.5, 2.0, shape)
    return Tensor(values, requires_grad=True)


CALLS: dict[str, Any] = {
    "sum axis": lambda x: np.sum(x, axis=0),
    "sum positional": lambda x: np.sum(x, 1),
    "sum keepdims": lambda x: np.sum(x, axis=-1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=(0, 1)),
    "var": lambda x: np.var(x),
    "var ddof": lambda x: np.var(x, axis=0, ddof=1),
    "std": lambda x: np.std(x, axis=1, keepdims=True),
    "max": lambda x: np.max(x, axis=1),
    "amin": lambda x: np.amin(x),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "ravel": lambda x: np.ravel(x),
    "transpose": lambda x: np.transpose(x),
    "transpose axes": lambda x: np.transpose(x, axes=(1, 0)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 1), axis=1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "concatenate": lambda x: np.concatenate([x, 2.0 * x], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "where": lambda x: np.where(x > 1.0, x, 0.0),
    "copy": lambda x: np.copy(x),
    "dot vector": lambda x: np.dot(x, np.ones(3)),
    "dot matrix": lambda x: np.dot(x, np.ones((3, 2))),
    "dot scalar": lambda x: np.dot(x, 2.0),
    "dot deep": lambda x: np.dot(np.ones((2, 2, 2)), x),
    "add.reduce": lambda x: np.add.reduce(x, axis=1),
    "maximum.reduce": lambda x: np.maximum.reduce(x),
    "formula": lambda x: np.exp(-np.square(x)) / (1 + np.tanh(np.abs(x))) ** 2,
    "array on the left": lambda x: np.arange(3.0) * x - np.ones((2, 3)) / x,
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "matmul": lambda x: np.ones((2, 2)) @ x,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_function_written_for_numpy_can_be_differentiated(call: Any) -> None:
    x = leaf(2, 3)
    plain = x.detach().numpy()
    out = call(x)
    assert isinstance(out, Tensor)
    assert out.requires_grad
    np.testing.assert_allclose(out.detach().numpy(), call(plain), rtol=1e-12)
    assert minidl.gradcheck(call, [plain])


REFUSED: dict[str, tuple[Any, str]] = {
    "no derivative": (lambda x: np.cbrt(x), r"np\.cbrt has no derivative in minidl"),
    "function": (lambda x: np.unwrap(x), r"np\.unwrap has no derivative"),
    "linalg": (lambda x: np.linalg.eig(x), r"np\.eig has no derivative"),
    "out": (lambda x: np.add(x, 1.0, out=np.zeros((2, 3))), r"np\.add: out= cannot"),
    "in place": (lambda x: np.zeros((2, 3)).__iadd__(x), r"np\.add: out= cannot"),
    "where": (lambda x: np.add(x, 1.0, where=np.array(True)), r"np\.add with where"),
    "outer": (lambda x: np.multiply.outer(x, x), r"np\.multiply\.outer has no derivative"),
    "accumulate": (lambda x: np.add.accumulate(x), r"np\.add\.accumulate has no derivative"),
    "dtype": (lambda x: np.sum(x, dtype=np.float32), r"np\.sum: .*'dtype'"),
    "too many": (lambda x: np.mean(x, 0, np.float32), r"np\.mean: too many positional"),
}


@pytest.mark.parametrize(("call", "match"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_derivative_raises(call: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        call(leaf(2, 3))
    with pytest.raises(TypeError, match=match):
        grad(lambda x: call(x).sum())(np.ones((2, 3)))


def test_nothing_becomes_an_object_array_or_loses_the_graph() -> None:
    x = leaf(3)
    with pytest.raises(TypeError, match="would lose"):
        np.asarray(x)
    with pytest.raises(TypeError, match="would lose"):
        np.array([1.0, 2.0, 3.0])[:] = x
    assert np.asarray(x.detach()).dtype == np.float64
    assert np.array(tensor([1.0, 2.0]), dtype=np.float64).dtype == np.float64


def test_results_that_depend_on_the_shape_alone_are_plain() -> None:
    x = leaf(2, 3)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert type(np.zeros_like(x)) is np.ndarray
    np.testing.assert_array_equal(np.ones_like(x), np.ones((2, 3)))


def test_every_entry_takes_a_tensor() -> None:
    """No entry of the tables may call back into NumPy's function of the same name: no recursion."""
    for ufunc in UFUNCS:
        whole = ufunc.__name__.startswith(("logical", "bitwise", "invert"))
        x = tensor(np.ones((2, 2)) > 0) if whole else leaf(2, 2) * 0.4
        if ufunc is np.ldexp:
            continue  # wants a whole number; see below
        with np.errstate(all="ignore"):
            found, wanted = ufunc(*[x] * ufunc.nin), ufunc(*[x.detach().numpy()] * ufunc.nin)
        assert isinstance(found, Tensor), ufunc
        np.testing.assert_allclose(found.detach().numpy(), wanted, err_msg=ufunc.__name__)


def matrix(n: int = 3) -> Any:
    return np.random.default_rng(1).uniform(-1.0, 1.0, (n, n)) + 2 * np.eye(n)


A, V, B = np.random.default_rng(2).uniform(0.5, 2.0, (2, 3)), np.array([3.0, 1.0, 2.0]), matrix()
S = B + B.T
SPECTRUM = np.fft.rfft(A)

#: Arguments for every entry; the first array in them is given as a Tensor.
ARGUMENTS: dict[Any, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    **{
        f: [((A,), {}), ((A, 1), {}), ((A,), {"axis": 0, "keepdims": True})]
        for f in (
            np.sum,
            np.prod,
            np.mean,
            np.var,
            np.std,
            np.max,
            np.min,
            np.amax,
            np.amin,
            np.argmax,
            np.argmin,
            np.any,
            np.all,
            np.nansum,
            np.nanmean,
            np.median,
            np.nanmedian,
        )
    },
    **{f: [((A, 0.3), {}), ((A, [0.2, 0.9], 1), {})] for f in (np.quantile, np.nanquantile)},
    **{f: [((A,), {}), ((A, 0), {})] for f in (np.ptp, np.cumsum, np.cumprod, np.count_nonzero)},
    **{f: [((A,), {}), ((A,), {"axis": None}), ((A, 0), {})] for f in (np.sort, np.argsort)},
    **{
        f: [((A,), {})]
        for f in (
            np.i0,
            np.sinc,
            np.real,
            np.imag,
            np.angle,
            np.copy,
            np.ravel,
            np.transpose,
            np.matrix_transpose,
            np.squeeze,
            np.fliplr,
            np.flipud,
            np.flip,
            np.tril,
            np.triu,
            np.diag,
            np.diagonal,
            np.diagflat,
            np.corrcoef,
            np.cov,
            np.shape,
            np.ndim,
            np.size,
            np.zeros_like,
            np.ones_like,
            np.iscomplexobj,
            np.nan_to_num,
            np.linalg.svdvals,
            np.linalg.pinv,
            np.linalg.matrix_rank,
            np.linalg.matrix_norm,
            np.linalg.vector_norm,
            np.linalg.norm,
            np.fft.fftshift,
            np.fft.ifftshift,
            np.gradient,
            np.atleast_1d,
            np.atleast_2d,
            np.atleast_3d,
            np.round,
            np.nonzero,
            np.unique,
            np.linalg.diagonal,
        )
    },
    **{
        f: [((B,), {})]
        for f in (np.linalg.det, np.linalg.slogdet, np.linalg.inv, np.linalg.cond, np.trace)
    },
    **{f: [((S,), {})] for f in (np.linalg.eigvalsh, np.linalg.cholesky)},
    **{f: [((B @ B.T,), {})] for f in (np.linalg.cholesky,)},
    **{
        f: [(([A, A],), {})]
        for f in (np.concatenate, np.stack, np.hstack, np.vstack, np.dstack, np.column_stack)
    },
    **{
        f: [((A,), {}), ((A, 4), {}), ((A,), {"axis": 0, "norm": "ortho"})]
        for f in (np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft)
    },
    **{
        f: [((A,), {}), ((A, (2, 4)), {"axes": (0, 1)})]
        for f in (
            np.fft.fft2,
            np.fft.ifft2,
            np.fft.rfft2,
            np.fft.irfft2,
            np.fft.fftn,
            np.fft.ifftn,
            np.fft.rfftn,
            np.fft.irfftn,
        )
    },
    **{f: [((A, 2), {"axis": 0}), ((A, [1]), {"axis": 1})] for f in (np.array_split,)},
    np.percentile: [((A, 30), {}), ((A, [20, 90], 1), {})],
    np.average: [((A,), {}), ((A, 1), {"weights": V}), ((A,), {"weights": A})],
    np.diff: [((A,), {}), ((A, 1, 0), {})],
    np.trapezoid: [((A,), {}), ((A, V), {}), ((A,), {"dx": 0.5, "axis": 0})],
    np.searchsorted: [((np.sort(V), A), {}), ((np.sort(V), A), {"side": "right"})],
    np.isin: [((A, V), {}), ((A, V), {"invert": True})],
    np.bincount: [((np.array([0, 2, 1]),), {})],
    np.where: [((A > 1, A, 0.0), {})],
    np.clip: [((A, 0.7, 1.5), {}), ((A, None, 1.5), {})],
    np.isclose: [((A, A + 1e-9), {})],
    np.allclose: [((A, A + 1e-9), {})],
    np.array_equal: [((A, A), {})],
    np.reshape: [((A, (3, 2)), {}), ((A, -1), {})],
    np.swapaxes: [((A, 0, 1), {})],
    np.moveaxis: [((A, 0, 1), {})],
    np.expand_dims: [((A, 1), {}), ((A, (0, 2)), {})],
    np.broadcast_to: [((V, (2, 3)), {})],
    np.broadcast_arrays: [((A, V), {})],
    np.split: [((A, 3, 1), {}), ((A, [1], 1), {})],
    np.hsplit: [((A, 3), {})],
    np.vsplit: [((A, 2), {})],
    np.dsplit: [((A[None], 3), {})],
    np.roll: [((A, 1), {}), ((A, (1, 2), (0, 1)), {})],
    np.rot90: [((A,), {}), ((A, 3), {})],
    np.tile: [((A, 2), {}), ((A, (2, 1)), {})],
    np.repeat: [((A, 2), {}), ((A, 2, 0), {})],
    np.pad: [((A, 1), {}), ((A, ((0, 1), (2, 0))), {"constant_values": 7.0})],
    np.meshgrid: [((V, V), {}), ((V, V), {"indexing": "ij"})],
    np.take: [((A, [0, 2]), {}), ((A, [1, 0], 1), {})],
    np.take_along_axis: [((A, np.array([[2], [0]]), 1), {})],
    np.dot: [((A, V), {}), ((B, B), {}), ((A, np.ones((2, 3, 2))), {})],
    np.vdot: [((V, V), {})],
    np.inner: [((A, V), {})],
    np.outer: [((A, V), {})],
    np.tensordot: [((A, A), {}), ((A, B, ([1], [0])), {})],
    np.kron: [((A, B), {})],
    np.cross: [((A, V), {})],
    np.vander: [((V,), {}), ((V, 2), {"increasing": True})],
    np.linalg.solve: [((B, B), {})],
    np.linalg.qr: [((B, "complete"), {})],
    np.linalg.matrix_power: [((B, 3), {})],
    np.linalg.multi_dot: [(([B, B, V],), {})],
    np.linalg.tensorinv: [((B.reshape(3, 3, 1), 1), {})],
    np.linalg.tensorsolve: [((B, V), {})],
    np.full_like: [((A, 7.0), {})],
}
#: Unique up to signs, or without defined values: only shapes are compared.
LOOSE = {np.linalg.qr, np.linalg.svd, np.linalg.eigh, np.empty_like}
for loose in (np.linalg.svd, np.linalg.eigh, np.empty_like):
    ARGUMENTS[loose] = [((S,), {})]
ARGUMENTS[np.einsum] = []  # its first argument is text; see CALLS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_function_agrees_with_numpy_s(function: Any) -> None:
    def lift(part: Any) -> Any:
        if isinstance(part, list) and part and isinstance(part[0], np.ndarray):
            return [Tensor(x) for x in part]
        return Tensor(part) if isinstance(part, np.ndarray) else part

    for args, kwargs in ARGUMENTS[function]:
        wanted = function(*args, **kwargs)
        found = function(*map(lift, args), **{k: lift(v) for k, v in kwargs.items()})
        several = isinstance(wanted, (tuple, list)) and function is not np.shape
        pairs = zip(found, wanted, strict=True) if several else [(found, wanted)]
        for one, two in pairs:
            one = np.asarray(one)
            assert one.shape == np.shape(two)
            if function not in LOOSE:
                np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_float_power_is_in_double_precision_as_numpy_s() -> None:
    x = tensor([2.0], requires_grad=True)
    out = np.float_power(x, 2)
    assert out.dtype == np.float64
    out.sum().backward()
    assert x.grad.dtype == np.float32


def test_ldexp_takes_whole_exponents() -> None:
    x = leaf(3)
    found = np.ldexp(x, np.array([1, 2, 3])).detach().numpy()
    np.testing.assert_allclose(found, np.ldexp(x.detach().numpy(), [1, 2, 3]))


def test_what_fits_one_call_is_not_taken_to_fit_another() -> None:
    x = minidl.tensor([1.0, 2.0])
    for _ in range(2):
        assert float(np.sum(x)) == 3.0
        assert np.sum(x, axis=0).shape == ()
        with pytest.raises(TypeError, match=r"np.sum: .*other arguments have no derivative"):
            np.sum(x, initial=1.0)
        with pytest.raises(TypeError, match=r"np.sum: .*other arguments have no derivative"):
            np.sum(x, 0, None, None, False, 1.0, True)
