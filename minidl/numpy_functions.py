"""NumPy's functions, one entry each: which function of minidl does it, in NumPy's call shape.

`minidl.numpy_protocols` looks here. An entry has NumPy's parameters under NumPy's names; arguments
that it does not name are refused, as they would change the result. Where NumPy and PyTorch differ
(``ddof``, the middle of an even number of values), the entry does what NumPy does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import ops
from minidl.ops import algebra, decompositions, fft, lengths, solvers, systems
from minidl.ops.padding import pad_constant
from minidl.ops.shape import shape_of

Function = Callable[..., Any]


def _reduction(function: Function) -> Function:
    return lambda a, axis=None, *, keepdims=False: function(a, axis, keepdims)


def _moments(function: Function) -> Function:
    return lambda a, axis=None, *, ddof=0, keepdims=False: function(a, axis, ddof, keepdims)


def _scan(function: Function) -> Function:
    """Scans take the flat array where no axis is given."""

    def call(a: Any, axis: int | None = None) -> Any:
        return function(ops.ravel(a), 0) if axis is None else function(a, axis)

    return call


def _quantile(function: Function, scale: float = 1.0) -> Function:
    def call(
        a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False
    ) -> Any:
        return function(a, np.asarray(q) * scale, axis, keepdims, interpolation=method)

    return call


def _median(function: Function) -> Function:
    return lambda a, axis=None, *, keepdims=False: function(a, 0.5, axis, keepdims)


def _average(a: Any, axis: Any = None, weights: Any = None) -> Any:
    if weights is None:
        return ops.mean(a, axis)
    if len(shape_of(weights)) == 1 and len(shape_of(a)) > 1:
        place = axis % len(shape_of(a))
        weights = ops.reshape(weights, (-1, *(1,) * (len(shape_of(a)) - place - 1)))
    return ops.sum(a * weights, axis) / ops.sum(weights + a * 0.0, axis)


def _ordered(a: Any, axis: int | None = -1) -> Any:
    return ops.sort(ops.ravel(a), 0).values if axis is None else ops.sort(a, axis).values


def _order(a: Any, axis: int | None = -1) -> Any:
    return ops.argsort(ops.ravel(a), 0) if axis is None else ops.argsort(a, axis)


def _transpose(a: Any, axes: Any = None) -> Any:
    return ops.permute(a, *(range(len(shape_of(a)))[::-1] if axes is None else axes))


def _expand_dims(a: Any, axis: Any) -> Any:
    for place in sorted([axis] if isinstance(axis, int) else axis):
        a = ops.unsqueeze(a, place)
    return a


def _flip(m: Any, axis: Any = None) -> Any:
    every = tuple(range(len(shape_of(m))))
    return ops.flip(m, every if axis is None else axis)


def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    if isinstance(indices_or_sections, int) and shape_of(ary)[axis] % indices_or_sections:
        raise ValueError("np.split: array split does not result in an equal division")
    return list(ops.tensor_split(ary, indices_or_sections, axis))


def _pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Any:
    if mode != "constant" or np.ndim(constant_values):
        raise TypeError(f"np.pad: mode {mode!r} has no derivative in minidl; see functional.pad")
    widths = np.broadcast_to(np.asarray(pad_width), (len(shape_of(array)), 2))
    return pad_constant(array, [(int(a), int(b)) for a, b in widths], constant_values)


def _dot(a: Any, b: Any) -> Any:
    if not shape_of(a) or not shape_of(b):
        return ops.mul(a, b)
    if len(shape_of(b)) == 1:
        return ops.tensordot(a, b, ([-1], [0]))
    return ops.tensordot(a, b, ([-1], [-2]))


def _take(a: Any, indices: Any, axis: int | None = None) -> Any:
    indices = indices if hasattr(indices, "dtype") else np.asarray(indices)
    if axis is None:
        return ops.take(a, indices)
    return a[(slice(None),) * (axis % len(shape_of(a))) + (indices,)]


def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    spacing: Any = list(varargs) if len(varargs) > 1 else varargs[0] if varargs else 1.0
    if hasattr(spacing, "shape") and np.ndim(spacing):
        spacing = [spacing]
    found = ops.gradient(f, spacing=spacing, dim=axis, edge_order=edge_order)
    return found[0] if len(found) == 1 else found


def _constant(function: Function) -> Function:
    """A function whose result depends on shape and dtype only."""

    def call(a: Any, *args: Any, **kwargs: Any) -> Any:
        return function(np.broadcast_to(np.zeros((), a.dtype), a.shape), *args, **kwargs)

    return call


def _transform(function: Function) -> Function:
    return lambda a, n=None, axis=-1, norm=None: function(a, n, axis, norm)


def _transforms(function: Function, default: Any) -> Function:
    return lambda a, s=None, axes=default, norm=None: function(a, s, axes, norm)


#: Entries by what they do, in the order of `minidl.ops`.
FUNCTIONS: dict[Any, Function] = {
    # reductions, scans, order
    np.sum: _reduction(ops.sum),
    np.prod: _reduction(ops.prod),
    np.mean: _reduction(ops.mean),
    np.average: _average,
    np.var: _moments(ops.var),
    np.std: _moments(ops.std),
    np.max: _reduction(ops.amax),
    np.min: _reduction(ops.amin),
    np.amax: _reduction(ops.amax),
    np.amin: _reduction(ops.amin),
    np.ptp: lambda a, axis=None: ops.amax(a, axis) - ops.amin(a, axis),
    np.argmax: _reduction(ops.argmax),
    np.argmin: _reduction(ops.argmin),
    np.any: _reduction(ops.any),
    np.all: _reduction(ops.all),
    np.count_nonzero: lambda a, axis=None: ops.count_nonzero(a, axis),
    np.nansum: _reduction(ops.nansum),
    np.nanmean: _reduction(ops.nanmean),
    np.median: _median(ops.quantile),
    np.nanmedian: _median(ops.nanquantile),
    np.quantile: _quantile(ops.quantile),
    np.nanquantile: _quantile(ops.nanquantile),
    np.percentile: _quantile(ops.quantile, 0.01),
    np.cumsum: _scan(ops.cumsum),
    np.cumprod: _scan(ops.cumprod),
    np.diff: lambda a, n=1, axis=-1, prepend=None, append=None: ops.diff(
        a, n, axis, prepend, append
    ),
    np.trapezoid: lambda y, x=None, dx=1.0, axis=-1: ops.trapezoid(y, x, dx=dx, dim=axis),
    np.gradient: _gradient,
    np.sort: _ordered,
    np.argsort: _order,
    np.searchsorted: lambda a, v, side="left": ops.searchsorted(a, v, right=side == "right"),
    np.unique: lambda ar: ops.unique(ar),
    np.nonzero: lambda a: ops.nonzero(a, as_tuple=True),
    np.isin: lambda element, test_elements, *, invert=False: ops.isin(
        element, test_elements, invert=invert
    ),
    np.bincount: lambda x, weights=None, minlength=0: ops.bincount(x, weights, minlength),
    # elementwise
    np.where: lambda condition, x, y: ops.where(condition, x, y),
    np.clip: lambda a, a_min=None, a_max=None: ops.clamp(a, a_min, a_max),
    np.round: lambda a, decimals=0: ops.round(a, decimals=decimals),
    np.nan_to_num: lambda x, copy=True, nan=0.0, posinf=None, neginf=None: ops.nan_to_num(
        x, nan, posinf, neginf
    ),
    np.sinc: lambda x: ops.sinc(x),
    np.i0: lambda x: ops.i0(x),
    np.real: lambda val: ops.real(val),
    np.imag: lambda val: ops.imag(val),
    np.angle: lambda z: ops.angle(z),
    np.isclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: ops.isclose(
        a, b, rtol, atol, equal_nan
    ),
    np.allclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: ops.allclose(
        a, b, rtol, atol, equal_nan
    ),
    np.array_equal: lambda a1, a2: ops.equal(a1, a2),
    np.copy: lambda a: ops.clone(a),
    # shape
    np.reshape: lambda a, shape: ops.reshape(a, shape),
    np.ravel: lambda a: ops.ravel(a),
    np.transpose: _transpose,
    np.matrix_transpose: lambda x: ops.transpose(x, -1, -2),
    np.swapaxes: lambda a, axis1, axis2: ops.transpose(a, axis1, axis2),
    np.moveaxis: lambda a, source, destination: ops.movedim(a, source, destination),
    np.squeeze: lambda a, axis=None: ops.squeeze(a, axis),
    np.expand_dims: _expand_dims,
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
    np.broadcast_arrays: lambda *args: ops.broadcast_tensors(*args),
    np.atleast_1d: lambda *arys: ops.atleast_1d(*arys),
    np.atleast_2d: lambda *arys: ops.atleast_2d(*arys),
    np.atleast_3d: lambda *arys: ops.atleast_3d(*arys),
    np.concatenate: lambda arrays, axis=0: ops.cat(arrays, axis),
    np.stack: lambda arrays, axis=0: ops.stack(arrays, axis),
    np.hstack: lambda tup: ops.hstack(tup),
    np.vstack: lambda tup: ops.vstack(tup),
    np.dstack: lambda tup: ops.dstack(tup),
    np.column_stack: lambda tup: ops.column_stack(tup),
    np.split: _split,
    np.array_split: lambda ary, indices_or_sections, axis=0: list(
        ops.tensor_split(ary, indices_or_sections, axis)
    ),
    np.hsplit: lambda ary, indices_or_sections: list(ops.hsplit(ary, indices_or_sections)),
    np.vsplit: lambda ary, indices_or_sections: list(ops.vsplit(ary, indices_or_sections)),
    np.dsplit: lambda ary, indices_or_sections: list(ops.dsplit(ary, indices_or_sections)),
    np.flip: _flip,
    np.fliplr: lambda m: ops.fliplr(m),
    np.flipud: lambda m: ops.flipud(m),
    np.roll: lambda a, shift, axis=None: ops.roll(a, shift, axis),
    np.rot90: lambda m, k=1, axes=(0, 1): ops.rot90(m, k, axes),
    np.tile: lambda A, reps: ops.tile(A, *([reps] if isinstance(reps, int) else reps)),
    np.repeat: lambda a, repeats, axis=None: ops.repeat_interleave(a, repeats, axis),
    np.pad: _pad,
    np.tril: lambda m, k=0: ops.tril(m, k),
    np.triu: lambda m, k=0: ops.triu(m, k),
    np.diag: lambda v, k=0: ops.diag(v, k),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: ops.diagonal(a, offset, axis1, axis2),
    np.diagflat: lambda v, k=0: ops.diagflat(v, k),
    np.meshgrid: lambda *xi, indexing="xy": ops.meshgrid(*xi, indexing=indexing),
    np.take: _take,
    np.take_along_axis: lambda arr, indices, axis=-1: ops.take_along_dim(arr, indices, axis),
    # linear algebra
    np.dot: _dot,
    np.vdot: lambda a, b: ops.dot(ops.ravel(a), ops.ravel(b)),
    np.inner: lambda a, b: ops.inner(a, b),
    np.outer: lambda a, b: ops.outer(ops.ravel(a), ops.ravel(b)),
    np.tensordot: lambda a, b, axes=2: ops.tensordot(a, b, axes),
    np.einsum: lambda equation, *operands: ops.einsum(equation, *operands),
    np.kron: lambda a, b: ops.kron(a, b),
    np.cross: lambda a, b, axis=-1: ops.cross(a, b, axis),
    np.trace: lambda a: ops.trace(a),
    np.vander: lambda x, N=None, increasing=False: ops.vander(x, N, increasing),
    np.cov: lambda m, ddof=1, fweights=None, aweights=None: ops.cov(
        m, correction=ddof, fweights=fweights, aweights=aweights
    ),
    np.corrcoef: lambda x: ops.corrcoef(x),
    np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: solvers.norm(
        x, ord, axis, keepdims
    ),
    np.linalg.matrix_norm: lambda x, *, ord="fro", keepdims=False: solvers.matrix_norm(
        x, ord, (-2, -1), keepdims
    ),
    np.linalg.vector_norm: lambda x, *, ord=2, axis=None, keepdims=False: lengths.vector_norm(
        x, ord, axis, keepdims
    ),
    np.linalg.det: lambda a: ops.det(a),
    np.linalg.slogdet: lambda a: ops.slogdet(a),
    np.linalg.inv: lambda a: ops.inverse(a),
    np.linalg.pinv: lambda a: ops.pinverse(a),
    np.linalg.solve: lambda a, b: systems.solve(a, b),
    np.linalg.cholesky: lambda a, *, upper=False: ops.cholesky(a, upper=upper),
    np.linalg.qr: lambda a, mode="reduced": ops.qr(a, mode),
    np.linalg.svd: lambda a, full_matrices=True: ops.svd(a, full_matrices),
    np.linalg.svdvals: lambda x: decompositions.svdvals(x),
    np.linalg.eigh: lambda a: decompositions.eigh(a),
    np.linalg.eigvalsh: lambda a: decompositions.eigvalsh(a),
    np.linalg.matrix_power: lambda a, n: ops.matrix_power(a, n),
    np.linalg.matrix_rank: lambda A: solvers.matrix_rank(A),
    np.linalg.cond: lambda x, p=None: solvers.cond(x, p),
    np.linalg.multi_dot: lambda arrays: algebra.multi_dot(arrays),
    np.linalg.tensorinv: lambda a, ind=2: solvers.tensorinv(a, ind),
    np.linalg.tensorsolve: lambda a, b: solvers.tensorsolve(a, b),
    np.linalg.diagonal: lambda x, *, offset=0: ops.diagonal(x, offset, -2, -1),
    # Fourier transforms
    np.fft.fft: _transform(fft.fft),
    np.fft.ifft: _transform(fft.ifft),
    np.fft.rfft: _transform(fft.rfft),
    np.fft.irfft: _transform(fft.irfft),
    np.fft.hfft: _transform(fft.hfft),
    np.fft.ihfft: _transform(fft.ihfft),
    np.fft.fft2: _transforms(fft.fft2, (-2, -1)),
    np.fft.ifft2: _transforms(fft.ifft2, (-2, -1)),
    np.fft.rfft2: _transforms(fft.rfft2, (-2, -1)),
    np.fft.irfft2: _transforms(fft.irfft2, (-2, -1)),
    np.fft.fftn: _transforms(fft.fftn, None),
    np.fft.ifftn: _transforms(fft.ifftn, None),
    np.fft.rfftn: _transforms(fft.rfftn, None),
    np.fft.irfftn: _transforms(fft.irfftn, None),
    np.fft.fftshift: lambda x, axes=None: fft.fftshift(x, axes),
    np.fft.ifftshift: lambda x, axes=None: fft.ifftshift(x, axes),
    # shape and dtype only
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: len(a.shape),
    np.size: _constant(np.size),
    np.zeros_like: _constant(np.zeros_like),
    np.ones_like: _constant(np.ones_like),
    np.full_like: _constant(np.full_like),
    np.empty_like: _constant(np.empty_like),
    np.iscomplexobj: lambda x: ops.is_complex(x),
}
