"""Operators and methods of a Tensor: each names the operation of `minidl.ops` that does the work.

They stand apart from `minidl.tensor` because there is nothing to understand in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minidl import ops
from minidl.autograd.primitive import Box
from minidl.ops.arithmetic import minus, over, plus
from minidl.ops.reduce import Dim, Extremum

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

    def __invert__(self) -> Tensor:
        return ops.logical_not(self)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    # ---- methods: see the function of the same name in minidl ------------------------------

    def sum(self, dim: Dim = None, keepdim: bool = False, **names: Any) -> Tensor:
        """Return `minidl.sum`; ``axis`` and ``keepdims`` are accepted too, as in PyTorch."""
        return ops.sum(self, *_numpy_names(dim, keepdim, names))

    def mean(self, dim: Dim = None, keepdim: bool = False, **names: Any) -> Tensor:
        """Return `minidl.mean`; ``axis`` and ``keepdims`` are accepted too."""
        return ops.mean(self, *_numpy_names(dim, keepdim, names))

    def var(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        """Return `minidl.var`; beware that NumPy's correction is 0 by default."""
        return ops.var(self, dim, correction, keepdim)

    def std(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        """Return `minidl.std`; beware that NumPy's correction is 0 by default."""
        return ops.std(self, dim, correction, keepdim)

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Return `minidl.amax`."""
        return ops.amax(self, dim, keepdim)

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Return `minidl.amin`."""
        return ops.amin(self, dim, keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Tensor | Extremum:
        """Return `minidl.max`: with ``dim`` a pair of values and indices."""
        return ops.max(self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Tensor | Extremum:
        """Return `minidl.min`: with ``dim`` a pair of values and indices."""
        return ops.min(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Return `minidl.argmax`."""
        return ops.argmax(self, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Return `minidl.argmin`."""
        return ops.argmin(self, dim, keepdim)

    def exp(self) -> Tensor:
        """Return `minidl.exp`."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """Return `minidl.log`."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """Return `minidl.sqrt`."""
        return ops.sqrt(self)

    def square(self) -> Tensor:
        """Return `minidl.square`."""
        return ops.square(self)

    def tanh(self) -> Tensor:
        """Return `minidl.tanh`."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """Return `minidl.sigmoid`."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """Return `minidl.relu`."""
        return ops.relu(self)

    def erf(self) -> Tensor:
        """Return `minidl.erf`."""
        return ops.erf(self)

    def abs(self) -> Tensor:
        """Return `minidl.abs`."""
        return ops.abs(self)

    def sign(self) -> Tensor:
        """Return `minidl.sign`."""
        return ops.sign(self)

    def pow(self, exponent: Any) -> Tensor:
        """Return `minidl.pow`."""
        return ops.pow(self, exponent)

    def matmul(self, other: Any) -> Tensor:
        """Return `minidl.matmul`."""
        return ops.matmul(self, other)

    def softmax(self, dim: int) -> Tensor:
        """Return `minidl.softmax`."""
        return ops.softmax(self, dim)

    def log_softmax(self, dim: int) -> Tensor:
        """Return `minidl.log_softmax`."""
        return ops.log_softmax(self, dim)

    def logsumexp(self, dim: Dim, keepdim: bool = False) -> Tensor:
        """Return `minidl.logsumexp`."""
        return ops.logsumexp(self, dim, keepdim)

    def reshape(self, *shape: Any) -> Tensor:
        """Return `minidl.reshape`."""
        return ops.reshape(self, *shape)

    def view(self, *shape: Any) -> Tensor:
        """Return `minidl.reshape`: Tensors are values, so a view is not told from a copy."""
        return ops.reshape(self, *shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Return `minidl.flatten`."""
        return ops.flatten(self, start_dim, end_dim)

    def squeeze(self, dim: int | None = None) -> Tensor:
        """Return `minidl.squeeze`."""
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """Return `minidl.unsqueeze`."""
        return ops.unsqueeze(self, dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Return `minidl.transpose`."""
        return ops.transpose(self, dim0, dim1)

    def permute(self, *dims: Any) -> Tensor:
        """Return `minidl.permute`."""
        return ops.permute(self, *dims)

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

    def expand(self, *shape: Any) -> Tensor:
        """Return `minidl.expand`."""
        return ops.expand(self, *shape)

    def clone(self) -> Tensor:
        """Return `minidl.clone`."""
        return ops.clone(self)

    def to(self, dtype: DTypeLike) -> Any:
        """Return `minidl.cast`: the elements in another dtype."""
        return self if self.dtype == dtype else ops.cast(self, dtype)

    astype = to

    def float(self) -> Tensor:
        """Return the elements as float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """Return the elements as float64."""
        return self.to(np.float64)


def _numpy_names(dim: Dim, keepdim: bool, names: dict[str, Any]) -> tuple[Dim, bool]:
    """Read ``axis`` and ``keepdims``, which code written for NumPy passes."""
    dim, keepdim = names.pop("axis", dim), names.pop("keepdims", keepdim)
    if names:
        raise TypeError(f"unexpected arguments {sorted(names)}; wanted dim and keepdim")
    return dim, keepdim
