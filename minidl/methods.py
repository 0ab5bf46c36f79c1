"""Operators and methods of a Tensor: each names the operation of `minidl.ops` that does the work.

They stand apart from `minidl.tensor` because there is nothing to understand in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minidl import ops
from minidl.autograd.arrays import is_device
from minidl.autograd.primitive import Box
from minidl.ops.arithmetic import minus, over, plus
from minidl.ops.devices import to_device
from minidl.ops.reduce import Dim

if TYPE_CHECKING:
    from minidl.tensor import Tensor


class Methods(Box):
    """What can be written ``x + y``, ``x[i]`` or ``x.sum()``."""

    __slots__ = ()
    shape: Any
    ndim: Any
    dtype: Any

    # ---- operators -------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return plus(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return plus(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return minus(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return minus(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return over(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return over(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.eq(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.ne(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    def __and__(self, other: Any) -> Tensor:
        return ops.logical_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return ops.logical_or(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return ops.logical_xor(self, other)

    def __invert__(self) -> Tensor:
        return ops.logical_not(self)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    # ---- methods that are not just a function of minidl ------------------------------------

    def sum(self, dim: Dim = None, keepdim: bool = False, **names: Any) -> Tensor:
        """Return `minidl.sum`; ``axis`` and ``keepdims`` are accepted too, as in PyTorch."""
        return ops.sum(self, *_numpy_names(dim, keepdim, names))

    def mean(self, dim: Dim = None, keepdim: bool = False, **names: Any) -> Tensor:
        """Return `minidl.mean`; ``axis`` and ``keepdims`` are accepted too."""
        return ops.mean(self, *_numpy_names(dim, keepdim, names))

    def view(self, *shape: Any) -> Tensor:
        """Return `minidl.reshape`: Tensors are values, so a view is not told from a copy."""
        return ops.reshape(self, *shape)

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return ops.permute(self, *reversed(range(self.ndim)))

    @property
    def real(self) -> Tensor:
        """The real part."""
        return ops.real(self)

    @property
    def imag(self) -> Tensor:
        """The imaginary part."""
        return ops.imag(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return ops.transpose(self, -2, -1)

    def where(self, condition: Any, other: Any) -> Tensor:
        """Return ``self`` where ``condition`` holds, else ``other``."""
        return ops.where(condition, self, other)

    def polygamma(self, n: int) -> Tensor:
        """Return `minidl.polygamma` of order ``n``."""
        return ops.polygamma(n, self)

    def to(
        self,
        target: DTypeLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> Any:
        """Return the elements in another dtype (`minidl.cast`), on another device, or both.

        Parameters
        ----------
        target
            A dtype, or a device by its name: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

        Raises
        ------
        ValueError
            There is no such name of a device.
        RuntimeError
            The device is not there; the message says what to install.
        """
        if is_device(target):
            device = str(target)
        elif target is not None:
            dtype = target
        found = self if dtype is None or self.dtype == dtype else ops.cast(self, dtype)
        return found if device is None else to_device(found, device)

    def astype(self, dtype: DTypeLike) -> Any:
        """Return `minidl.cast`: the elements in another dtype."""
        return self if self.dtype == dtype else ops.cast(self, dtype)

    def cpu(self) -> Tensor:
        """Return the elements on the host."""
        return to_device(self, "cpu")

    def float(self) -> Tensor:
        """Return the elements as float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """Return the elements as float64."""
        return self.to(np.float64)

    # ---- the function of the same name in minidl, by family --------------------------------

    # algebra
    addbmm = ops.addbmm
    addmm = ops.addmm
    addmv = ops.addmv
    addr = ops.addr
    baddbmm = ops.baddbmm
    bmm = ops.bmm
    corrcoef = ops.corrcoef
    cov = ops.cov
    cross = ops.cross
    dot = ops.dot
    ger = ops.ger
    inner = ops.inner
    kron = ops.kron
    mm = ops.mm
    mv = ops.mv
    outer = ops.outer
    vdot = ops.vdot

    # arithmetic
    add = ops.add
    addcdiv = ops.addcdiv
    addcmul = ops.addcmul
    bitwise_and = ops.bitwise_and
    bitwise_not = ops.bitwise_not
    bitwise_or = ops.bitwise_or
    bitwise_xor = ops.bitwise_xor
    div = ops.div
    divide = ops.divide
    eq = ops.eq
    float_power = ops.float_power
    floor_divide = ops.floor_divide
    ge = ops.ge
    greater = ops.greater
    greater_equal = ops.greater_equal
    gt = ops.gt
    le = ops.le
    lerp = ops.lerp
    less = ops.less
    less_equal = ops.less_equal
    logical_and = ops.logical_and
    logical_not = ops.logical_not
    logical_or = ops.logical_or
    logical_xor = ops.logical_xor
    lt = ops.lt
    maximum = ops.maximum
    minimum = ops.minimum
    mul = ops.mul
    multiply = ops.multiply
    ne = ops.ne
    neg = ops.neg
    negative = ops.negative
    not_equal = ops.not_equal
    pow = ops.pow
    sub = ops.sub
    subtract = ops.subtract
    true_divide = ops.true_divide

    # complexes
    angle = ops.angle
    conj = ops.conj
    is_complex = ops.is_complex
    isreal = ops.isreal

    # decompositions
    cholesky = ops.cholesky
    qr = ops.qr
    svd = ops.svd

    # diagonals
    diag = ops.diag
    diag_embed = ops.diag_embed
    diagflat = ops.diagflat
    diagonal = ops.diagonal
    tril = ops.tril
    triu = ops.triu

    # elementwise
    abs = ops.abs
    absolute = ops.absolute
    acos = ops.acos
    acosh = ops.acosh
    arccos = ops.arccos
    arccosh = ops.arccosh
    arcsin = ops.arcsin
    arcsinh = ops.arcsinh
    arctan = ops.arctan
    arctanh = ops.arctanh
    asin = ops.asin
    asinh = ops.asinh
    atan = ops.atan
    atanh = ops.atanh
    cos = ops.cos
    cosh = ops.cosh
    deg2rad = ops.deg2rad
    exp = ops.exp
    exp2 = ops.exp2
    expm1 = ops.expm1
    log = ops.log
    log10 = ops.log10
    log1p = ops.log1p
    log2 = ops.log2
    positive = ops.positive
    rad2deg = ops.rad2deg
    reciprocal = ops.reciprocal
    relu = ops.relu
    rsqrt = ops.rsqrt
    sgn = ops.sgn
    sigmoid = ops.sigmoid
    sign = ops.sign
    sin = ops.sin
    sinh = ops.sinh
    sqrt = ops.sqrt
    square = ops.square
    tan = ops.tan
    tanh = ops.tanh

    # joining
    chunk = ops.chunk
    dsplit = ops.dsplit
    hsplit = ops.hsplit
    split = ops.split
    split_with_sizes = ops.split_with_sizes
    tensor_split = ops.tensor_split
    unbind = ops.unbind
    vsplit = ops.vsplit

    # lengths
    dist = ops.dist
    norm = ops.norm

    # logarithms
    arctan2 = ops.arctan2
    atan2 = ops.atan2
    hypot = ops.hypot
    ldexp = ops.ldexp
    logaddexp = ops.logaddexp
    logaddexp2 = ops.logaddexp2
    logit = ops.logit
    sinc = ops.sinc
    xlogy = ops.xlogy

    # ordering
    argsort = ops.argsort
    kthvalue = ops.kthvalue
    median = ops.median
    mode = ops.mode
    msort = ops.msort
    nanmedian = ops.nanmedian
    sort = ops.sort
    topk = ops.topk
    unique = ops.unique
    unique_consecutive = ops.unique_consecutive

    # products
    matmul = ops.matmul

    # rearrange
    flip = ops.flip
    fliplr = ops.fliplr
    flipud = ops.flipud
    narrow = ops.narrow
    repeat = ops.repeat
    repeat_interleave = ops.repeat_interleave
    roll = ops.roll
    rot90 = ops.rot90
    select = ops.select
    tile = ops.tile
    unfold = ops.unfold

    # reduce
    amax = ops.amax
    amin = ops.amin
    argmax = ops.argmax
    argmin = ops.argmin
    max = ops.max
    min = ops.min
    std = ops.std
    var = ops.var
    aminmax = ops.aminmax
    prod = ops.prod

    # rounding
    ceil = ops.ceil
    clamp = ops.clamp
    clamp_max = ops.clamp_max
    clamp_min = ops.clamp_min
    clip = ops.clip
    copysign = ops.copysign
    fix = ops.fix
    floor = ops.floor
    fmax = ops.fmax
    fmin = ops.fmin
    fmod = ops.fmod
    frac = ops.frac
    heaviside = ops.heaviside
    isclose = ops.isclose
    isfinite = ops.isfinite
    isinf = ops.isinf
    isnan = ops.isnan
    isneginf = ops.isneginf
    isposinf = ops.isposinf
    nan_to_num = ops.nan_to_num
    remainder = ops.remainder
    round = ops.round
    signbit = ops.signbit
    trunc = ops.trunc

    # scan
    cummax = ops.cummax
    cummin = ops.cummin
    cumprod = ops.cumprod
    cumsum = ops.cumsum
    diff = ops.diff
    logcumsumexp = ops.logcumsumexp

    # scatter
    diagonal_scatter = ops.diagonal_scatter
    gather = ops.gather
    index_add = ops.index_add
    index_copy = ops.index_copy
    index_fill = ops.index_fill
    index_put = ops.index_put
    index_select = ops.index_select
    masked_fill = ops.masked_fill
    masked_scatter = ops.masked_scatter
    masked_select = ops.masked_select
    put = ops.put
    scatter = ops.scatter
    scatter_add = ops.scatter_add
    scatter_reduce = ops.scatter_reduce
    select_scatter = ops.select_scatter
    slice_scatter = ops.slice_scatter
    take = ops.take
    take_along_dim = ops.take_along_dim

    # shape
    reshape = ops.reshape
    squeeze = ops.squeeze
    broadcast_to = ops.broadcast_to
    clone = ops.clone
    expand = ops.expand
    expand_as = ops.expand_as
    flatten = ops.flatten
    moveaxis = ops.moveaxis
    movedim = ops.movedim
    permute = ops.permute
    ravel = ops.ravel
    swapaxes = ops.swapaxes
    swapdims = ops.swapdims
    t = ops.t
    transpose = ops.transpose
    unflatten = ops.unflatten
    unsqueeze = ops.unsqueeze

    # softmax
    log_softmax = ops.log_softmax
    logsumexp = ops.logsumexp
    softmax = ops.softmax

    # solvers
    cholesky_inverse = ops.cholesky_inverse
    cholesky_solve = ops.cholesky_solve
    det = ops.det
    inverse = ops.inverse
    logdet = ops.logdet
    matrix_exp = ops.matrix_exp
    matrix_power = ops.matrix_power
    pinverse = ops.pinverse
    slogdet = ops.slogdet

    # special
    digamma = ops.digamma
    erf = ops.erf
    erfc = ops.erfc
    erfinv = ops.erfinv
    i0 = ops.i0
    lgamma = ops.lgamma
    mvlgamma = ops.mvlgamma

    # statistics
    bincount = ops.bincount
    histc = ops.histc
    nanmean = ops.nanmean
    nanquantile = ops.nanquantile
    nansum = ops.nansum
    quantile = ops.quantile

    # truth
    all = ops.all
    allclose = ops.allclose
    any = ops.any
    count_nonzero = ops.count_nonzero
    equal = ops.equal
    nonzero = ops.nonzero


def _numpy_names(dim: Dim, keepdim: bool, names: dict[str, Any]) -> tuple[Dim, bool]:
    """Read ``axis`` and ``keepdims``, which code written for NumPy passes."""
    dim, keepdim = names.pop("axis", dim), names.pop("keepdims", keepdim)
    if names:
        raise TypeError(f"unexpected arguments {sorted(names)}; wanted dim and keepdim")
    return dim, keepdim
